const test = require('node:test');
const assert = require('node:assert');
const { slug } = require('../src/slug.js');

test('a title that ends in a dash has none at its end', () => {
  assert.strictEqual(slug('Hello -'), 'hello');
});

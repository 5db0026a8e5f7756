const test = require('node:test');
const assert = require('node:assert');
const { slug } = require('../src/slug.js');

test('words are joined by dashes', () => {
  assert.strictEqual(slug('Hello, World'), 'hello-world');
});

test('accents are dropped', () => {
  assert.strictEqual(slug('Crème brûlée'), 'creme-brulee');
});

test('spaces around a title do not count', () => {
  assert.strictEqual(slug('  a  b '), 'a-b');
});

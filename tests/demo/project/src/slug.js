// Turns a title into the last part of a URL.
function slug(title) {
  return title
    .normalize('NFKD')
    .replace(/[^\w\s-]/g, '')
    .trim()
    .toLowerCase()
    .replace(/[\s_-]+/g, '-');
}

module.exports = { slug };

// Says what Node makes of each request, as a line of JSON once the request is whole. Ends with its standard input.
const http = require("http");

const say = (what) => console.log(JSON.stringify(what));

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const url = new URL(request.url, "http://host");
    say({
      connection: request.socket.remotePort,
      method: request.method,
      host: request.headers.host,
      path: decodeURIComponent(url.pathname),
      query: [...url.searchParams],
      headers: request.headers,
      body: Buffer.concat(pieces).toString(),
    });
    response.end("taken\n");
  });
});

server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
process.stdin.on("end", () => process.exit()).resume();

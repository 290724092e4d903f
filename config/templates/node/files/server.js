const http = require("node:http");

const port = Number(process.env.PORT ?? 8080);

const server = http.createServer((request, response) => {
  console.log(request.method, request.url);
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.end("It works. This is server.js: change it, commit, and push.\n");
});

server.listen(port, "0.0.0.0", () => console.log(`listening on port ${port}`));

// What has begun is answered before the service ends.
process.on("SIGTERM", () => server.close(() => process.exit(0)));

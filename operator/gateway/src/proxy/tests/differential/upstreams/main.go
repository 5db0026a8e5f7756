// Says what Go makes of each request, as a line of JSON once the request is whole. Ends with its standard input.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
)

var saying sync.Mutex

func say(what map[string]any) {
	line, _ := json.Marshal(what)
	saying.Lock()
	defer saying.Unlock()
	fmt.Println(string(line))
}

func understood(answer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	_, connection, _ := net.SplitHostPort(request.RemoteAddr)
	headers := map[string]string{"host": request.Host}
	for name, values := range request.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	// As its router reads it.
	clean := path.Clean(request.URL.Path)
	if strings.HasSuffix(request.URL.Path, "/") && clean != "/" {
		clean += "/"
	}
	query := [][2]string{}
	values, err := url.ParseQuery(request.URL.RawQuery)
	if err != nil {
		query = append(query, [2]string{"malformed", err.Error()})
	}
	for name, all := range values {
		for _, value := range all {
			query = append(query, [2]string{name, value})
		}
	}
	say(map[string]any{
		"connection": json.Number(connection), "method": request.Method, "host": request.Host, "path": clean,
		"query": query, "headers": headers, "body": string(body),
	})
	fmt.Fprintln(answer, "taken")
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	say(map[string]any{"port": listener.Addr().(*net.TCPAddr).Port})
	go http.Serve(listener, http.HandlerFunc(understood))
	io.Copy(io.Discard, os.Stdin)
}

package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		log.Println(r.Method, r.URL.Path)
		fmt.Fprintln(w, "It works. This is main.go: change it, commit, and push.")
	})
	log.Println("listening on port", port)
	log.Fatal(http.ListenAndServe(":"+port, nil))
}

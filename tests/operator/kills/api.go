package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const server = "https://10.99.0.1:6443"

// api is the API server as its admin sees it.
type api struct {
	client *http.Client
	roots  *x509.CertPool
}

type object = map[string]any

func newAPI(pki string) (*api, error) {
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(pki, "admin.crt"), filepath.Join(pki, "admin.key"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}},
		ForceAttemptHTTP2: true,
	}
	return &api{client: &http.Client{Transport: transport, Timeout: 30 * time.Second}, roots: roots}, nil
}

// call sends a body, if there is one, and returns the answered object.
func (a *api) call(method, path, contentType string, body any) (object, error) {
	var text []byte
	switch body := body.(type) {
	case nil:
	case string:
		text = []byte(body)
	default:
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(context.Background(), method, server+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", contentType)
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s: %.300s", method, path, answer.Status, text)
	}
	var found object
	return found, json.Unmarshal(text, &found)
}

func (a *api) get(path string) (object, error) { return a.call("GET", path, "", nil) }

func (a *api) apply(path, yaml string) error {
	_, err := a.call("PATCH", path+"?fieldManager=tests&force=true", "application/apply-patch+yaml", yaml)
	return err
}

// at walks into an object; what is not there is nil.
func at(value any, path ...string) any {
	for _, key := range path {
		inner, _ := value.(object)
		value = inner[key]
	}
	return value
}

func text(value any, path ...string) string {
	found, _ := at(value, path...).(string)
	return found
}

// ready says whether an object's status is about its newest spec and says Ready and nothing against it.
func ready(found object) bool {
	if at(found, "metadata", "generation") != at(found, "status", "observedGeneration") {
		return false
	}
	conditions, _ := at(found, "status", "conditions").([]any)
	done := false
	for _, condition := range conditions {
		if text(condition, "status") != "True" {
			continue
		}
		switch text(condition, "type") {
		case "Ready":
			done = true
		case "Reconciling", "Stalled":
			return false
		}
	}
	return done
}

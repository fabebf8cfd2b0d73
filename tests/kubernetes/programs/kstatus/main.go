// kstatus: judges Kubernetes objects as kubectl-like tools do, with the library that they share.
//
// Reads a JSON list or single objects from standard input, one document after the other, and prints for each
// `<status> <kind>/<namespace>/<name>: <message>`; the status is Current, InProgress, Failed, Terminating, NotFound or Unknown.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	decoder := json.NewDecoder(os.Stdin)
	for {
		var text json.RawMessage
		err := decoder.Decode(&text)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fail(err)
		}
		// whole numbers as int64, which the library expects
		var document map[string]interface{}
		if err := utiljson.Unmarshal(text, &document); err != nil {
			fail(err)
		}
		object := &unstructured.Unstructured{Object: document}
		if !object.IsList() {
			judge(object)
			continue
		}
		list, err := object.ToList()
		if err != nil {
			fail(err)
		}
		for i := range list.Items {
			judge(&list.Items[i])
		}
	}
}

func judge(object *unstructured.Unstructured) {
	result, err := status.Compute(object)
	if err != nil {
		fail(err)
	}
	fmt.Printf("%s %s/%s/%s: %s\n", result.Status, object.GetKind(), object.GetNamespace(), object.GetName(), result.Message)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "kstatus:", err)
	os.Exit(1)
}

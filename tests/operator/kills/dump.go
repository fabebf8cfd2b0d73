package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"sort"
	"strings"
)

// Everything in the namespace that is the operator's, directly or not.
var dumped = []string{
	"apis/kennet.dev/v1alpha1 kafkaclusters", "apis/kennet.dev/v1alpha1 topics", "apis/kennet.dev/v1alpha1 offsetresets",
	"apis/apps/v1 statefulsets", "apis/policy/v1 poddisruptionbudgets", "apis/batch/v1 jobs", "apis/networking.k8s.io/v1 networkpolicies",
	"api/v1 services", "api/v1 configmaps", "api/v1 secrets", "api/v1 persistentvolumeclaims",
}

var unstable = []struct {
	pattern *regexp.Regexp
	is      string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`\b10\.(244|96)\.\d+\.\d+`), "ADDRESS"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`-main-config-[0-9a-z]+`), "-main-config-HASH"},
	// of the config, which has the namespace in it; as deeply quoted as an annotation within a template within an annotation is
	{regexp.MustCompile(`(config\\*":\\*")[0-9a-f]{10}\b`), "${1}HASH"},
}

// dump is the namespace and its topics as lines, one for every value, without what is another in every run.
func (r *run) dump() ([]string, error) {
	var found []any
	for _, kind := range dumped {
		group, plural, _ := strings.Cut(kind, " ")
		list, err := r.world.api.get(r.path(group, plural))
		if err != nil {
			return nil, err
		}
		items, _ := list["items"].([]any)
		for _, item := range items {
			if strings.HasPrefix(text(item, "metadata", "name"), "kube-root-ca") {
				continue
			}
			item.(object)["kind"] = plural
			forgetDisruption(item)
			found = append(found, item)
		}
	}
	topics, err := r.topics()
	if err != nil {
		return nil, err
	}
	found = append(found, topics)
	random := map[string]string{r.namespace: "NAMESPACE"}
	for _, item := range found {
		collect(item, random)
	}
	var lines []string
	for _, item := range found {
		lines = append(lines, flat(text(item, "kind")+"/"+text(item, "metadata", "name")+" ", strip(item))...)
	}
	replaced := strings.Split(replace(strings.Join(lines, "\n"), random), "\n")
	sort.Strings(replaced)
	return replaced, nil
}

// flat is a line for every value below a path. Elements of lists are told by their names; in which order they stand is not told.
func flat(path string, value any) []string {
	var lines []string
	switch value := value.(type) {
	case object:
		for key, inner := range value {
			lines = append(lines, flat(path+"."+key, inner)...)
		}
		if len(value) == 0 {
			lines = append(lines, path+" = {}")
		}
	case []any:
		for _, inner := range value {
			name := text(inner, "type") + text(inner, "name") + text(inner, "manager")
			lines = append(lines, flat(path+"["+name+"]", inner)...)
		}
		if len(value) == 0 {
			lines = append(lines, path+" = []")
		}
	default:
		content, _ := json.Marshal(value)
		lines = append(lines, path+" = "+string(content))
	}
	return lines
}

// forgetDisruption takes out whether a budget allows a disruption. An eviction is noted there by the pod's name, and the disruption controller
// takes the note away once it sees that pod going. On a busy node the next pod of the StatefulSet, with the same name, may be there before it
// looks; that one is then counted as going for two minutes.
func forgetDisruption(item any) {
	if status, ok := at(item, "status").(object); ok && text(item, "kind") == "poddisruptionbudgets" {
		for _, key := range []string{"conditions", "currentHealthy", "disruptedPods", "disruptionsAllowed"} {
			delete(status, key)
		}
	}
}

// topics is what the brokers have, as our own CLI tells it.
func (r *run) topics() (any, error) {
	pod, err := r.world.api.get(r.path("api/v1", "pods/"+cluster+"-main-0"))
	if err != nil {
		return nil, err
	}
	command := exec.Command(r.world.kennet, "--bootstrap", text(pod, "status", "podIP")+":9092", "--output", "json", "topics", "describe", "records")
	// what it says beside the topics, such as a name that is not known yet, is none of them
	var said strings.Builder
	command.Stderr = &said
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("kennet topics describe: %w: %s", err, said.String())
	}
	var topics any
	return object{"kind": "topics of the brokers", "topics": &topics}, json.Unmarshal(output, &topics)
}

// collect finds ids that were drawn at random, wherever they stand.
func collect(value any, random map[string]string) {
	switch value := value.(type) {
	case object:
		for key, inner := range value {
			id, isText := inner.(string)
			switch {
			case !isText:
			case key == "clusterId" || key == "directoryId" || key == "topicId" || key == "id":
				random[id] = strings.ToUpper(key)
			case key == "kennet.dev/restart-inputs" || key == "kennet.dev/plan-hash":
				random[strings.TrimPrefix(id, "sha256-")] = "HASH"
			}
			collect(inner, random)
		}
	case []any:
		for _, inner := range value {
			collect(inner, random)
		}
	case *any:
		collect(*value, random)
	}
}

// strip takes out what the API server and other controllers make anew each time.
func strip(value any) any {
	switch value := value.(type) {
	case object:
		kept := object{}
		for key, inner := range value {
			switch key {
			case "uid", "resourceVersion", "creationTimestamp", "generation", "clusterIP", "clusterIPs", "volumeName", "time",
				"currentRevision", "updateRevision":
			case "managedFields":
				kept[key] = fields(inner)
			case "data":
				kept[key] = data(value, inner)
			default:
				kept[key] = strip(inner)
			}
		}
		return kept
	case []any:
		kept := make([]any, 0, len(value))
		for _, inner := range value {
			// the job controller notes that a Job was resumed only if it looked while it was suspended
			if text(inner, "type") == "Suspended" && strings.HasPrefix(text(inner, "reason"), "Job") {
				continue
			}
			kept = append(kept, strip(inner))
		}
		return kept
	case *any:
		return strip(*value)
	default:
		return value
	}
}

// fields are who owns what; what other controllers own depends on when they looked.
func fields(value any) any {
	var kept []any
	entries, _ := value.([]any)
	for _, entry := range entries {
		if strings.HasPrefix(text(entry, "manager"), "kennet") {
			kept = append(kept, strip(entry))
		}
	}
	return kept
}

// data of a Secret is keys and certificates, of which only the names are compared.
func data(owner object, value any) any {
	entries, isMap := value.(object)
	if owner["kind"] != "secrets" || !isMap {
		return strip(value)
	}
	kept := object{}
	for key := range entries {
		kept[key] = "set"
	}
	return kept
}

func replace(content string, random map[string]string) string {
	var ids []string
	for id := range random {
		if len(id) > 3 {
			ids = append(ids, id)
		}
	}
	sort.Slice(ids, func(a, b int) bool { return len(ids[a]) > len(ids[b]) || len(ids[a]) == len(ids[b]) && ids[a] < ids[b] })
	for _, id := range ids {
		content = strings.ReplaceAll(content, id, random[id])
	}
	for _, one := range unstable {
		content = one.pattern.ReplaceAllString(content, one.is)
	}
	return content
}

// compare says what is missing (-) and what is there instead (+); nothing when nothing differs.
func compare(expected, found []string) []string {
	missing, more := minus(expected, found), minus(found, expected)
	var lines []string
	for _, line := range missing {
		lines = append(lines, "- "+line)
		// the new value comes after the old one, and of long ones that is shown where they part
		path, _, _ := strings.Cut(line, " = ")
		for i, other := range more {
			if strings.HasPrefix(other, path+" = ") {
				lines[len(lines)-1], other = "- "+apart(line, other, len(path)+3), "+ "+apart(other, line, len(path)+3)
				lines = append(lines, other)
				more = append(more[:i:i], more[i+1:]...)
				break
			}
		}
	}
	for _, line := range more {
		lines = append(lines, "+ "+line)
	}
	for i, line := range lines {
		lines[i] = fmt.Sprintf("%.200s", line)
	}
	return lines
}

// apart shortens a long line, from there on, to where it parts from another one.
func apart(line, other string, from int) string {
	const before, long = 20, 120
	same := from
	for same < len(line) && same < len(other) && line[same] == other[same] {
		same++
	}
	if len(line) < long || same-before <= from {
		return line
	}
	return line[:from] + "..." + line[same-before:]
}

func minus(these, those []string) []string {
	count := map[string]int{}
	for _, line := range those {
		count[line]++
	}
	var kept []string
	for _, line := range these {
		if count[line]--; count[line] < 0 {
			kept = append(kept, line)
		}
	}
	return kept
}

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	cluster = "c"
	// Between the looks of a pass that is busy there are 2 s.
	quietTime = 2500 * time.Millisecond
	// An eviction that was cut off blocks the next one for two minutes: so long the API server waits for the pod to go that it has noted.
	patience = 180 * time.Second
	// What others than the operator make of its objects may take so long once it is done,
	converges = 20 * time.Second
	// and what everything is compared with stays as it is for so long.
	steadyTime = 6 * time.Second
	// Users of the operators' processes, by which iptables knows their connections.
	firstUser = 70000
)

// Objects of a phase: path within the namespace, and what is applied there.
var phases = map[string][][2]string{
	"create": {
		{"apis/kennet.dev/v1alpha1 kafkaclusters/c", "spec: {brokers: 1, storage: {size: 1Gi}}"},
		{"apis/kennet.dev/v1alpha1 topics/records", "spec: {clusterRef: {name: c}, partitions: 3, " +
			"config: {retention.ms: \"600000\", max.message.bytes: \"100000\"}, onDelete: Delete, deletionDelay: 1h}"},
	},
	"change": {
		{"apis/kennet.dev/v1alpha1 kafkaclusters/c", "spec: {brokers: 1, storage: {size: 1Gi}, config: {num.partitions: \"4\"}}"},
		{"apis/kennet.dev/v1alpha1 topics/records", "spec: {clusterRef: {name: c}, partitions: 6, " +
			"config: {retention.ms: \"700000\", segment.bytes: \"10000000\"}}"},
	},
	"reset": {
		{"apis/kennet.dev/v1alpha1 offsetresets/r", "spec: {clusterRef: {name: c}, groupId: readers, topics: [{name: records}], " +
			"target: {type: Earliest}, approval: Automatic, notAfter: \"2099-01-01T00:00:00Z\"}"},
	},
}

var kinds = map[string]string{"kafkaclusters": "KafkaCluster", "topics": "Topic", "offsetresets": "OffsetReset"}

func newWorld(pki, chart, operator, kennet string, names []string) (*world, error) {
	api, err := newAPI(pki)
	if err != nil {
		return nil, err
	}
	rendered, err := exec.Command("helm", "template", "kennet-kills", chart, "--namespace", "place-holder", "--kube-version", "1.34.0",
		"--set", "crds.enabled=false,replicas=0", "--set", "watch.namespaces={place-holder}").Output()
	if err != nil {
		return nil, fmt.Errorf("helm template: %w", err)
	}
	return &world{api: api, rbac: string(rendered), operator: operator, kennet: kennet, phases: names}, nil
}

// run is one namespace with one operator at a time.
type run struct {
	world     *world
	namespace string
	user      int
	port      int
	token     string
	now       *counter
	service   *http.Server
	listeners []net.Listener
}

func (r *run) path(group, rest string) string {
	return "/" + group + "/namespaces/" + r.namespace + "/" + rest
}

func (w *world) newRun(worker, n int) (*run, error) {
	r := &run{world: w, namespace: fmt.Sprintf("kills-%d", n), user: firstUser + worker, port: 20000 + 10*n}
	rbac := strings.ReplaceAll(w.rbac, "place-holder", r.namespace)
	// what belongs to no namespace needs a name of its own
	rbac = strings.ReplaceAll(rbac, "name: kennet-kills", "name: kennet-"+r.namespace)
	if _, err := w.api.call("POST", "/api/v1/namespaces", "application/yaml",
		"{apiVersion: v1, kind: Namespace, metadata: {name: "+r.namespace+", labels: {pod-security.kubernetes.io/enforce: restricted}}}"); err != nil {
		return nil, err
	}
	apply := exec.Command("kubectl", "apply", "-f", "-")
	apply.Stdin = strings.NewReader(rbac)
	if output, err := apply.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("kubectl apply: %w: %s", err, output)
	}
	token, err := w.api.call("POST", r.path("api/v1", "serviceaccounts/kennet-"+r.namespace+"/token"), "application/json",
		"{\"apiVersion\": \"authentication.k8s.io/v1\", \"kind\": \"TokenRequest\", \"spec\": {\"expirationSeconds\": 3600}}")
	if err != nil {
		return nil, err
	}
	r.token = text(token, "status", "token")
	return r, r.redirect("-A")
}

// redirect sends what the operator's user says to brokers to this program; -A begins it and -D ends it.
func (r *run) redirect(action string) error {
	for i, port := range []int{9092, 9191} {
		output, err := exec.Command("iptables", "-w", "-t", "nat", action, "OUTPUT", "-p", "tcp", "-m", "owner", "--uid-owner",
			fmt.Sprint(r.user), "--dport", fmt.Sprint(port), "-j", "REDIRECT", "--to-ports", fmt.Sprint(r.port+1+i)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("iptables: %w: %s", err, output)
		}
	}
	return nil
}

func (r *run) end() {
	r.redirect("-D")
	r.world.api.call("DELETE", "/api/v1/namespaces/"+r.namespace, "", nil)
}

// phase applies a phase's objects and returns the first life of the operator and how it ended; if it was killed, a second one has brought it to
// its end.
func (r *run) phase(name string, limit int, reference []string) (*life, *end, error) {
	for _, one := range phases[name] {
		group, path, _ := strings.Cut(one[0], " ")
		plural, object, _ := strings.Cut(path, "/")
		yaml := fmt.Sprintf("apiVersion: kennet.dev/v1alpha1\nkind: %s\nmetadata: {name: %s}\n%s\n", kinds[plural], object, one[1])
		if err := r.world.api.apply(r.path(group, path), yaml); err != nil {
			return nil, nil, err
		}
	}
	first, ended, err := r.live(name, limit, reference)
	if err != nil || !first.counter.killed() {
		return first, ended, err
	}
	_, ended, err = r.live(name, 0, reference)
	return first, ended, err
}

// life is one process of the operator.
type life struct {
	counter *counter
	ended   chan struct{}
}

// end is what a life led to.
type end struct {
	dump       []string
	difference []string
}

// live runs an operator until it is killed or has nothing more to do and everything is as in the reference. Without one, until nothing changes
// any more. What is another after a while stays another: that is a difference.
func (r *run) live(phase string, limit int, reference []string) (*life, *end, error) {
	l := &life{counter: &counter{limit: limit}, ended: make(chan struct{})}
	listeners, err := r.listen(l.counter)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		for _, listener := range listeners {
			listener.Close()
		}
	}()
	log, err := os.Create(filepath.Join(os.TempDir(), r.namespace+"-"+phase+".log"))
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	command, err := r.command()
	if err != nil {
		return nil, nil, err
	}
	command.Stderr = log
	l.counter.kill = func() { command.Process.Kill() }
	if err := command.Start(); err != nil {
		return nil, nil, err
	}
	go func() {
		command.Wait()
		close(l.ended)
	}()
	defer func() {
		command.Process.Kill()
		<-l.ended
	}()
	var last end
	var settled, changed time.Time
	for started := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if l.counter.killed() {
			return l, nil, nil
		}
		select {
		case <-l.ended:
			return nil, nil, fmt.Errorf("the operator ended by itself: %s", tail(log.Name()))
		default:
		}
		unsettled := "the operator still writes or does not lead"
		if l.counter.quiet(quietTime) {
			unsettled = r.unsettled()
		}
		if unsettled != "" {
			if time.Since(started) > patience {
				return nil, nil, fmt.Errorf("not settled within %s: %s; %s", patience, unsettled, tail(log.Name()))
			}
			settled, changed = time.Time{}, time.Now()
			continue
		}
		if settled.IsZero() {
			settled = time.Now()
		}
		dump, err := r.dump()
		late := time.Since(settled) > converges || time.Since(started) > patience
		switch {
		case err != nil && late:
			return nil, nil, err
		case err != nil:
		case reference != nil:
			if last = (end{dump, compare(reference, dump)}); len(last.difference) == 0 || late {
				return l, &last, nil
			}
		default:
			before := last.dump
			if len(compare(before, dump)) > 0 {
				changed = time.Now()
			}
			if last.dump = dump; time.Since(changed) > steadyTime {
				return l, &last, nil
			}
			if late {
				return nil, nil, fmt.Errorf("something changes all the time: %s", strings.Join(compare(before, dump), " "))
			}
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// tail is the end of an operator's log.
func tail(log string) string {
	content, _ := os.ReadFile(log)
	const most = 600
	return "its log ends with: " + strings.TrimSpace(string(content[max(0, len(content)-most):]))
}

// unsettled says which object is not ready, and what it says; nothing when all are.
func (r *run) unsettled() string {
	for plural := range kinds {
		list, err := r.world.api.get(r.path("apis/kennet.dev/v1alpha1", plural))
		if err != nil {
			return err.Error()
		}
		items, _ := list["items"].([]any)
		for _, item := range items {
			if !ready(item.(object)) {
				return fmt.Sprintf("%s/%s of generation %v has %s", plural, text(item, "metadata", "name"), at(item, "metadata", "generation"), said(item))
			}
		}
	}
	return ""
}

// said is an object's status in short.
func said(item any) string {
	words := []string{fmt.Sprintf("observed %v", at(item, "status", "observedGeneration"))}
	conditions, _ := at(item, "status", "conditions").([]any)
	for _, one := range conditions {
		words = append(words, fmt.Sprintf("%s=%s %s '%.150s'", text(one, "type"), text(one, "status"), text(one, "reason"), text(one, "message")))
	}
	return strings.Join(words, ", ")
}

// bind waits for the port for a while: what an operator that was killed had open may be closing still.
func bind(port int) (net.Listener, error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return listener, err
		}
	}
}

func (r *run) listen(c *counter) ([]net.Listener, error) {
	var listeners []net.Listener
	for i := range 3 {
		listener, err := bind(r.port + i)
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, listener)
	}
	target, _ := url.Parse(server)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.world.api.roots}, MaxIdleConnsPerHost: 50}
	service := &http.Server{Handler: counting(c, target, transport, notCounted), ErrorLog: silent}
	go service.Serve(listeners[0])
	go accept(listeners[1], relayKafka(c))
	go accept(listeners[2], relayManagement(c, r.leaves))
	return listeners, nil
}

// command is the operator as the chart starts it, but for its way to the API server.
func (r *run) command() (*exec.Cmd, error) {
	config := filepath.Join(os.TempDir(), r.namespace+".kubeconfig")
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:%d"}}]
users: [{name: u, user: {token: %s}}]
`, r.port, r.token)
	if err := os.WriteFile(config, []byte(content), 0o644); err != nil {
		return nil, err
	}
	command := exec.Command(r.world.operator)
	command.Env = []string{
		"KUBECONFIG=" + config, "KENNET_WATCH_NAMESPACES=" + r.namespace, "POD_NAME=kennet", "POD_NAMESPACE=" + r.namespace,
		fmt.Sprintf("KENNET_PROBES_PORT=%d", r.port+3), fmt.Sprintf("KENNET_METRICS_PORT=%d", r.port+4), "KENNET_LOG=info,kennet_operator=debug",
	}
	credential := &syscall.Credential{Uid: uint32(r.user), Gid: uint32(r.user)}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Pdeathsig: syscall.SIGKILL}
	return command, nil
}

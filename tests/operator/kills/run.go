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
	patience  = 60 * time.Second
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
		"{apiVersion: v1, kind: Namespace, metadata: {name: "+r.namespace+"}}"); err != nil {
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

// phase applies a phase's objects and returns the first life of the operator; if that was killed, a second one has brought it to its end.
func (r *run) phase(name string, limit int) (*life, error) {
	for _, one := range phases[name] {
		group, path, _ := strings.Cut(one[0], " ")
		plural, object, _ := strings.Cut(path, "/")
		yaml := fmt.Sprintf("apiVersion: kennet.dev/v1alpha1\nkind: %s\nmetadata: {name: %s}\n%s\n", kinds[plural], object, one[1])
		if err := r.world.api.apply(r.path(group, path), yaml); err != nil {
			return nil, err
		}
	}
	first, err := r.live(name, limit)
	if err != nil || !first.counter.killed() {
		return first, err
	}
	_, err = r.live(name, 0)
	return first, err
}

// life is one process of the operator.
type life struct {
	counter *counter
	ended   chan struct{}
}

// live runs an operator until it is killed or has nothing more to do.
func (r *run) live(phase string, limit int) (*life, error) {
	l := &life{counter: &counter{limit: limit}, ended: make(chan struct{})}
	listeners, err := r.listen(l.counter)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, listener := range listeners {
			listener.Close()
		}
	}()
	log, err := os.Create(filepath.Join(os.TempDir(), r.namespace+"-"+phase+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command, err := r.command()
	if err != nil {
		return nil, err
	}
	command.Stderr = log
	l.counter.kill = func() { command.Process.Kill() }
	if err := command.Start(); err != nil {
		return nil, err
	}
	go func() {
		command.Wait()
		close(l.ended)
	}()
	defer func() {
		command.Process.Kill()
		<-l.ended
	}()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if l.counter.killed() {
			return l, nil
		}
		select {
		case <-l.ended:
			return nil, errors.New("the operator ended by itself; see " + log.Name())
		default:
		}
		if l.counter.quiet(quietTime) && r.settled() {
			return l, nil
		}
	}
	return nil, fmt.Errorf("not ready within %s; see %s", patience, log.Name())
}

// settled says whether every object is ready.
func (r *run) settled() bool {
	for plural := range kinds {
		list, err := r.world.api.get(r.path("apis/kennet.dev/v1alpha1", plural))
		if err != nil {
			return false
		}
		items, _ := list["items"].([]any)
		for _, item := range items {
			if !ready(item.(object)) {
				return false
			}
		}
	}
	return true
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

package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"syscall"
)

// Kafka's requests that change something.
var kafkaWrites = map[uint16]string{19: "CreateTopics", 20: "DeleteTopics", 33: "AlterConfigs", 37: "CreatePartitions", 44: "IncrementalAlterConfigs"}

var notCounted = []string{"/leases", "/events", "tokenreviews", "selfsubject"}

// counting forwards HTTP and counts what changes something; after the kill nothing passes any more.
func counting(c *counter, target *url.URL, transport http.RoundTripper, quietPaths []string) http.Handler {
	counts := func(request *http.Request) bool {
		if request.Method == http.MethodGet || request.Method == http.MethodHead {
			return false
		}
		for _, part := range quietPaths {
			if strings.Contains(request.URL.Path, part) {
				return false
			}
		}
		return true
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = transport
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(answer *http.Response) error {
		request := answer.Request
		if answer.StatusCode >= 300 {
			return nil
		}
		if request.Method != http.MethodGet && strings.Contains(request.URL.Path, "/leases") {
			c.leads()
		}
		if counts(request) && !c.answered(request.Method+" "+request.URL.Path) {
			return errors.New("killed")
		}
		return nil
	}
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if c.killed() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(answer, request)
	})
}

// originalDestination is where a connection was going before iptables sent it here.
func originalDestination(connection net.Conn) (string, error) {
	raw, err := connection.(*net.TCPConn).SyscallConn()
	if err != nil {
		return "", err
	}
	const soOriginalDst = 80
	var address *syscall.IPv6Mreq
	if failed := raw.Control(func(fd uintptr) {
		address, err = syscall.GetsockoptIPv6Mreq(int(fd), syscall.IPPROTO_IP, soOriginalDst)
	}); failed != nil {
		return "", failed
	}
	if err != nil {
		return "", err
	}
	found := address.Multiaddr
	return fmt.Sprintf("%s:%d", net.IP(found[4:8]), binary.BigEndian.Uint16(found[2:4])), nil
}

func accept(listener net.Listener, serve func(net.Conn, string)) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			if target, err := originalDestination(connection); err == nil {
				serve(connection, target)
			}
		}()
	}
}

// relayKafka passes frames on and counts the answers of those that change something.
func relayKafka(c *counter) func(net.Conn, string) {
	return func(operator net.Conn, target string) {
		broker, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		defer broker.Close()
		var mutex sync.Mutex
		waiting := map[uint32]string{}
		go func() {
			defer broker.Close()
			for reader := bufio.NewReader(operator); ; {
				frame, err := readFrame(reader)
				if err != nil || len(frame) < 12 || c.killed() {
					return
				}
				if what, ok := kafkaWrites[binary.BigEndian.Uint16(frame[4:])]; ok {
					mutex.Lock()
					waiting[binary.BigEndian.Uint32(frame[8:])] = what
					mutex.Unlock()
				}
				if _, err := broker.Write(frame); err != nil {
					return
				}
			}
		}()
		for reader := bufio.NewReader(broker); ; {
			frame, err := readFrame(reader)
			if err != nil || len(frame) < 8 {
				return
			}
			mutex.Lock()
			what, counts := waiting[binary.BigEndian.Uint32(frame[4:])]
			delete(waiting, binary.BigEndian.Uint32(frame[4:]))
			mutex.Unlock()
			if counts && !c.answered("Kafka "+what) {
				return
			}
			if _, err := operator.Write(frame); err != nil {
				return
			}
		}
	}
}

// readFrame returns one message with the four bytes of its length.
func readFrame(reader io.Reader) ([]byte, error) {
	const most = 64 << 20
	length := make([]byte, 4)
	if _, err := io.ReadFull(reader, length); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length)
	if size > most {
		return nil, fmt.Errorf("a frame of %d bytes", size)
	}
	frame := append(length, make([]byte, size)...)
	_, err := io.ReadFull(reader, frame[4:])
	return frame, err
}

// relayManagement stands between operator and broker with certificates of the cluster's own CA.
func relayManagement(c *counter, leaf func() (*tls.Config, error)) func(net.Conn, string) {
	return func(operator net.Conn, target string) {
		config, err := leaf()
		if err != nil {
			return
		}
		done := make(chan struct{})
		one := &oneConnection{connection: tls.Server(operator, config), done: done}
		transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
		handler := counting(c, &url.URL{Scheme: "https", Host: target}, transport, nil)
		service := &http.Server{Handler: handler, ErrorLog: silent}
		service.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(done)
			}
		}
		service.Serve(one)
	}
}

// oneConnection is a listener for a connection that is there already.
type oneConnection struct {
	connection net.Conn
	done       chan struct{}
	given      bool
}

func (o *oneConnection) Accept() (net.Conn, error) {
	if !o.given {
		o.given = true
		return o.connection, nil
	}
	<-o.done
	return nil, io.EOF
}

func (o *oneConnection) Close() error   { return nil }
func (o *oneConnection) Addr() net.Addr { return o.connection.LocalAddr() }

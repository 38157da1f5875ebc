// A stub in the place of k3s, and nothing like it: where the real program cannot be had, this one shows that
// what was baked for it is of use. It reads k3s's configuration file, and then
//
//	server  writes a key for every node to the datastore with the datastore's certificate, takes the
//	        authorities in server/tls for its own, and answers for an API that knows /cacerts, /join and,
//	        for an administrator, /readyz and /api/v1/nodes;
//	agent   compares the server's authority with the token's hash, and joins with the token's secret.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	configFile = "/etc/rancher/k3s/config.yaml"
	nodes      = "/k3s-stub/"
)

type config map[string]interface{}

func say(format string, words ...interface{}) { fmt.Printf("k3s-stub: "+format+"\n", words...) }

func must(err error) {
	if err != nil {
		say("%v", err)
		os.Exit(1)
	}
}

func main() {
	read := readConfig()
	if len(os.Args) != 2 {
		must(fmt.Errorf("called with %q", os.Args[1:]))
	}
	switch os.Args[1] {
	case "server":
		server(read)
	case "agent":
		agent(read)
	default:
		must(fmt.Errorf("this stub knows no %s", os.Args[1]))
	}
}

// readConfig takes one key a line, its value JSON.
func readConfig() config {
	content, err := os.ReadFile(configFile)
	must(err)
	read := config{}
	for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		parts := strings.SplitN(line, ": ", 2)
		var value interface{}
		must(json.Unmarshal([]byte(parts[1]), &value))
		read[parts[0]] = value
	}
	return read
}

func (read config) text(key string) string {
	value, there := read[key].(string)
	if !there {
		must(fmt.Errorf("%s has no %s", configFile, key))
	}
	return value
}

func (read config) list(key string) []string {
	found := []string{}
	for _, one := range read[key].([]interface{}) {
		found = append(found, one.(string))
	}
	return found
}

func server(read config) {
	register(read, read.text("node-name"))
	home := filepath.Join(read.text("data-dir"), "server", "tls")
	for _, name := range []string{"request-header-ca", "etcd/peer-ca", "etcd/server-ca"} {
		pair(home, name)
	}
	_, err := os.ReadFile(filepath.Join(home, "service.key"))
	must(err)
	own := leaf(read, home)
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(pem(home, "client-ca"))
	listener, err := tls.Listen("tcp", ":6443", &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven,
	})
	must(err)
	http.HandleFunc("/cacerts", func(to http.ResponseWriter, _ *http.Request) { to.Write(pem(home, "server-ca")) })
	http.HandleFunc("/readyz", administrators(func(to http.ResponseWriter) { to.Write([]byte("ok")) }))
	http.HandleFunc("/api/v1/nodes", administrators(func(to http.ResponseWriter) {
		must(json.NewEncoder(to).Encode(map[string]interface{}{"kind": "NodeList", "items": known(read)}))
	}))
	http.HandleFunc("/join", func(to http.ResponseWriter, asked *http.Request) {
		name, secret, _ := asked.BasicAuth()
		if secret != read.text("token") {
			to.WriteHeader(http.StatusForbidden)
			return
		}
		register(read, name)
		say("%s joined", name)
	})
	say("serves")
	notify()
	must(http.Serve(listener, nil))
}

func administrators(answer func(http.ResponseWriter)) http.HandlerFunc {
	return func(to http.ResponseWriter, asked *http.Request) {
		who := asked.TLS.PeerCertificates
		if len(who) == 0 || strings.Join(who[0].Subject.Organization, "") != "system:masters" {
			to.WriteHeader(http.StatusUnauthorized)
			return
		}
		say("%s told %s", asked.URL.Path, who[0].Subject.CommonName)
		answer(to)
	}
}

// register puts a key for a node.
func register(read config, node string) {
	where, _ := datastore(read, "put", map[string][]byte{"key": []byte(nodes + node), "value": []byte("up")})
	say("wrote to %s", where)
}

// known returns what Kubernetes' API says of every node, as far as a name goes.
func known(read config) []interface{} {
	_, told := datastore(read, "range", map[string][]byte{"key": []byte(nodes), "range_end": []byte("/k3s-stub0")})
	var found struct{ Kvs []struct{ Key []byte } }
	must(json.Unmarshal(told, &found))
	items := []interface{}{}
	for _, one := range found.Kvs {
		name := strings.TrimPrefix(string(one.Key), nodes)
		items = append(items, map[string]interface{}{"metadata": map[string]string{"name": name}})
	}
	return items
}

// datastore asks etcd's HTTP gateway, by the first member that answers.
func datastore(read config, what string, asked map[string][]byte) (string, []byte) {
	pair, err := tls.LoadX509KeyPair(read.text("datastore-certfile"), read.text("datastore-keyfile"))
	must(err)
	authority, err := os.ReadFile(read.text("datastore-cafile"))
	must(err)
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{pair}},
	}}
	body, err := json.Marshal(asked)
	must(err)
	for _, endpoint := range strings.Split(read.text("datastore-endpoint"), ",") {
		var answer *http.Response
		answer, err = client.Post(endpoint+"/v3/kv/"+what, "application/json", bytes.NewReader(body))
		if err == nil && answer.StatusCode == http.StatusOK {
			defer answer.Body.Close()
			told, err := io.ReadAll(answer.Body)
			must(err)
			return endpoint, told
		}
	}
	must(fmt.Errorf("no member answers to %s: %v", what, err))
	return "", nil
}

func pem(home, name string) []byte {
	content, err := os.ReadFile(filepath.Join(home, name+".crt"))
	must(err)
	return content
}

func pair(home, name string) tls.Certificate {
	base := filepath.Join(home, name)
	both, err := tls.LoadX509KeyPair(base+".crt", base+".key")
	must(err)
	return both
}

// leaf issues the server's certificate, as k3s does.
func leaf(read config, home string) tls.Certificate {
	authority := pair(home, "server-ca")
	issuer, err := x509.ParseCertificate(authority.Certificate[0])
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	made := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "k3s-stub"},
		NotBefore: issuer.NotBefore, NotAfter: issuer.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range read.list("tls-san") {
		if ip := net.ParseIP(name); ip != nil {
			made.IPAddresses = append(made.IPAddresses, ip)
		} else {
			made.DNSNames = append(made.DNSNames, name)
		}
	}
	content, err := x509.CreateCertificate(rand.Reader, made, issuer, key.Public(), authority.PrivateKey)
	must(err)
	return tls.Certificate{Certificate: [][]byte{content}, PrivateKey: key}
}

func notify() {
	if place := os.Getenv("NOTIFY_SOCKET"); place != "" {
		to, err := net.Dial("unixgram", place)
		must(err)
		_, err = to.Write([]byte("READY=1"))
		must(err)
	}
}

func agent(read config) {
	told, where := read.text("token"), read.text("server")
	parts := strings.SplitN(strings.TrimPrefix(told, "K10"), "::server:", 2)
	for ; ; time.Sleep(time.Second) {
		authority, err := get(where+"/cacerts", &tls.Config{InsecureSkipVerify: true}, "", "")
		if err != nil {
			say("waiting for a server: %v", err)
			continue
		}
		if fmt.Sprintf("%x", sha256.Sum256(authority)) != parts[0] {
			must(fmt.Errorf("%s has another authority than the token", where))
		}
		trusted := x509.NewCertPool()
		trusted.AppendCertsFromPEM(authority)
		_, err = get(where+"/join", &tls.Config{RootCAs: trusted}, read.text("node-name"), parts[1])
		must(err)
		say("joined")
		select {}
	}
}

func get(url string, how *tls.Config, name, secret string) ([]byte, error) {
	asked, err := http.NewRequest(http.MethodGet, url, nil)
	must(err)
	asked.SetBasicAuth(name, secret)
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: how}}
	answer, err := client.Do(asked)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

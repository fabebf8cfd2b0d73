package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/url"
	"time"
)

var silent = log.New(io.Discard, "", 0)

// leaves returns what makes certificates of the cluster's CA: for the broker's host towards the operator, and as operator towards the broker.
func (r *run) leaves() (*tls.Config, error) {
	secret, err := r.world.api.get(r.path("api/v1", "secrets/"+cluster+"-cluster-ca"))
	if err != nil {
		return nil, err
	}
	decode := func(key string) []byte {
		data, _ := base64.StdEncoding.DecodeString(text(secret, "data", key))
		return data
	}
	certificate, _ := pem.Decode(decode("ca.crt"))
	key, _ := pem.Decode(decode("ca.key"))
	ca, err := x509.ParseCertificate(certificate.Bytes)
	if err != nil {
		return nil, err
	}
	signer, err := x509.ParsePKCS8PrivateKey(key.Bytes)
	if err != nil {
		return nil, err
	}
	identity := &url.URL{Scheme: "kennet", Host: string(decode("clusterId")), Path: "/operator"}
	operator, err := leaf(ca, signer, &x509.Certificate{URIs: []*url.URL{identity}})
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		InsecureSkipVerify: true, // the broker is who iptables says
		Certificates:       []tls.Certificate{*operator},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return leaf(ca, signer, &x509.Certificate{DNSNames: []string{hello.ServerName}})
		},
	}, nil
}

func leaf(ca *x509.Certificate, signer any, template *x509.Certificate) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	signed, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), signer.(crypto.Signer))
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}, nil
}

package main

import (
	"crypto/x509"
	"net"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/kubernetes/cmd/kubeadm/app/util/pkiutil"
)

const valid = 10 * 365 * 24 * time.Hour

// certificates writes an authority of the cluster's own, one certificate for its servers and
// one for whoever may do everything, into a folder.
func certificates(folder string) error {
	authority := &pkiutil.CertConfig{Config: certutil.Config{CommonName: "lossmeter"}}
	ca, caKey, err := pkiutil.NewCertificateAuthority(authority)
	if err != nil {
		return err
	}
	if err := pkiutil.WriteCertAndKey(folder, "ca", ca, caKey); err != nil {
		return err
	}
	names := certutil.AltNames{DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for name, config := range map[string]certutil.Config{
		"server": {CommonName: "lossmeter-server", AltNames: names, Usages: both},
		"admin":  {CommonName: "lossmeter-admin", Organization: []string{"system:masters"}, Usages: both[1:]},
	} {
		asked := &pkiutil.CertConfig{Config: config, NotAfter: time.Now().Add(valid)}
		made, key, err := pkiutil.NewCertAndKey(ca, caKey, asked)
		if err != nil {
			return err
		}
		if err := pkiutil.WriteCertAndKey(folder, name, made, key); err != nil {
			return err
		}
	}
	return nil
}

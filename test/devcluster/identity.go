package devcluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// validity is how long certificates and tokens of a cluster are good for.
const validity = 30 * 24 * time.Hour

// authority is the cluster's certificate authority, for the API server and for
// its users alike.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "sluice devcluster"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key, pem: pemOf("CERTIFICATE", der)}, nil
}

// issue makes a certificate and its key. It is good for servers on the loopback
// interface as well as for clients; a client's name is subject's.
func (a *authority) issue(subject pkix.Name) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    a.cert.NotBefore,
		NotAfter:     a.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     []string{"localhost", "kubernetes.default.svc"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		return nil, nil, err
	}
	key, err = pemOfKey(private)
	return pemOf("CERTIFICATE", der), key, err
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pemOfKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pemOf("EC PRIVATE KEY", der), nil
}

// makeIdentities writes the files the components read their own and each
// other's identities from.
func (c *Cluster) makeIdentities() error {
	ca, err := newAuthority()
	if err != nil {
		return fmt.Errorf("making the certificate authority: %w", err)
	}
	c.ca = ca
	cert, key, err := ca.issue(pkix.Name{CommonName: "kube-apiserver"})
	if err != nil {
		return fmt.Errorf("making the API server's certificate: %w", err)
	}
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	signingPEM, err := pemOfKey(signing)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"ca.crt": ca.pem, "apiserver.crt": cert, "apiserver.key": key, "service-accounts.key": signingPEM,
	} {
		if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
			return err
		}
	}
	if c.admin, err = c.ConfigFor("admin", "system:masters"); err != nil {
		return err
	}
	return writeKubeconfig(c.admin, c.KubeconfigPath())
}

// Config is an administrator's client configuration, without client-side rate
// limits. It is the caller's to change.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.admin) }

// KubeconfigPath is an administrator's kubeconfig file, usable inside and
// outside of the cluster's namespace. It goes with the cluster.
func (c *Cluster) KubeconfigPath() string { return c.path("admin.kubeconfig") }

// CAPath is a PEM file with the certificate authority of the API server.
func (c *Cluster) CAPath() string { return c.path("ca.crt") }

// ConfigFor is a client configuration that authenticates as any user, by a
// certificate; the user needs no registration. For the name of a service account
// (system:serviceaccount:NAMESPACE:NAME) its groups are added. What the user may
// do is up to RBAC: nothing, without bindings.
func (c *Cluster) ConfigFor(user string, groups ...string) (*rest.Config, error) {
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		namespace, _, _ := strings.Cut(account, ":")
		groups = append(groups, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
	}
	cert, key, err := c.ca.issue(pkix.Name{CommonName: user, Organization: groups})
	if err != nil {
		return nil, fmt.Errorf("making a certificate for user %q: %w", user, err)
	}
	return &rest.Config{
		Host:            c.server,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.ca.pem, CertData: cert, KeyData: key},
		QPS:             -1,
	}, nil
}

// KubeconfigFor writes a kubeconfig file that authenticates as ConfigFor does
// and returns its path, for processes that take their identity from a file. It
// goes with the cluster.
func (c *Cluster) KubeconfigFor(user string, groups ...string) (string, error) {
	cfg, err := c.ConfigFor(user, groups...)
	if err != nil {
		return "", err
	}
	name := strings.NewReplacer(":", "-", "/", "-").Replace(user)
	f, err := os.CreateTemp(c.dir, name+"-*.kubeconfig")
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return f.Name(), writeKubeconfig(cfg, f.Name())
}

// ServiceAccountToken is a token of an existing service account, as a pod of it
// would have. It is good for a day.
func (c *Cluster) ServiceAccountToken(ctx context.Context, namespace, name string) (string, error) {
	clients, err := c.clients()
	if err != nil {
		return "", err
	}
	day := int64((24 * time.Hour).Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}
	out, err := clients.kubernetes.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("requesting a token of service account %s/%s: %w", namespace, name, err)
	}
	return out.Status.Token, nil
}

func writeKubeconfig(cfg *rest.Config, path string) error {
	const name = "sluice-devcluster"
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters[name] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	kubeconfig.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
	kubeconfig.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	kubeconfig.CurrentContext = name
	if err := clientcmd.WriteToFile(*kubeconfig, path); err != nil {
		return fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return nil
}

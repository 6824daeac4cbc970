package devcluster

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-rollouts/sluice/test/devcluster/foreign"
)

// Where ingress-nginx is reached inside, for requests and for its health.
const (
	ingressWeb   = "127.0.0.1:8000"
	ingressAdmin = "127.0.0.1:10254"
)

// ingressFiles are the few of ours that ingress-nginx runs with.
//
//go:embed ingressnginx
var ingressFiles embed.FS

// absentLibraries are Lua libraries of ingress-nginx's image that Debian does not have and that a request here never
// comes to: hashing, sticky sessions, global limits, certificates.
var absentLibraries = []string{"chash", "cookie", "global_throttle", "http", "ipmatcher", "lock", "dns/resolver"}

const ingressManifest = `
apiVersion: v1
kind: Namespace
metadata: {name: ingress-nginx}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ingress-nginx-controller, namespace: ingress-nginx}
data: {worker-processes: "2", use-http2: "false", disable-access-log: "true"}
---
# The controller wants to know its own pod.
apiVersion: v1
kind: Pod
metadata: {name: controller, namespace: ingress-nginx}
spec: {containers: [{name: controller, image: "example.com/ingress-nginx:v1"}]}
`

// StartIngressNginx starts the community's ingress-nginx in a cluster of StartNet, for IngressClass nginx, and returns when
// it is ready: its real controller, templates and Lua on Debian's nginx. It has an administrator's rights and all its
// defaults for how often it takes over changes. Where nginx cannot be had the error is foreign.ErrNoNginx.
func (c *Cluster) StartIngressNginx(ctx context.Context) (*Server, error) {
	s, err := c.startIngressNginx(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting ingress-nginx: %w", err)
	}
	return s, nil
}

func (c *Cluster) startIngressNginx(ctx context.Context) (*Server, error) {
	if err := c.needNamespace(); err != nil {
		return nil, err
	}
	packages, err := foreign.DebianNginx(ctx, c.opts.Log)
	if err != nil {
		return nil, err
	}
	paths, err := foreign.Build(ctx, c.opts.Log, foreign.IngressNginx)
	if err != nil {
		return nil, err
	}
	work, err := c.ingressFolders(ctx, packages)
	if err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, ingressManifest); err != nil {
		return nil, err
	}
	return c.runIngressNginx(ctx, packages, work, paths[0])
}

// ingressPatience is how long ingress-nginx gets to be ready.
const ingressPatience = time.Minute

func (c *Cluster) runIngressNginx(ctx context.Context, packages, work, controller string) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, ingressPatience)
	defer cancel()
	// A process namespace, so that nginx ends with the controller.
	part, err := c.startFoundation(ctx, "/usr/bin/unshare", "ingress-nginx", []string{
		"--mount", "--pid", "--mount-proc", "--fork", "--kill-child", "/bin/sh", filepath.Join(work, "start.sh"), packages, work, controller,
		"--kubeconfig=" + c.KubeconfigPath(), "--configmap=ingress-nginx/ingress-nginx-controller",
		"--ingress-class=nginx", "--controller-class=k8s.io/ingress-nginx", "--publish-status-address=127.0.0.1",
		"--http-port=8000", "--https-port=4430", "--default-server-port=8181", "--stream-port=10247", "--profiling=false",
		"--shutdown-grace-period=0", "--post-shutdown-grace-period=0", "--enable-metrics=false",
	}, "POD_NAME=controller", "POD_NAMESPACE=ingress-nginx", "NGINX_BINARY="+filepath.Join(work, "nginx.sh"))
	if err != nil {
		return nil, err
	}
	s := &Server{Inside: ingressWeb, part: part}
	transport := &http.Transport{DialContext: c.Dial}
	defer transport.CloseIdleConnections()
	err = part.await(ctx, "ingress-nginx to be ready", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := httpOK(ctx, &http.Client{Transport: transport}, "http://"+ingressAdmin+"/healthz"); err != nil {
			return err
		}
		return knowsBackends(ctx, transport)
	})
	if err == nil {
		s.Outside, err = c.Forward(ctx, ingressWeb)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// knowsBackends fails while a worker of nginx has not yet taken over the controller's list of backends, which each does on
// its own up to a second after the controller says it is healthy: until then it answers every request with 503. There are
// two workers and each connection reaches one of them, so 16 answers in a row leave 1 in 30,000 that one was never asked.
func knowsBackends(ctx context.Context, transport *http.Transport) error {
	for range 16 {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ingressWeb, nil)
		if err != nil {
			return err
		}
		request.Close = true
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			return err
		}
		if err := response.Body.Close(); err != nil {
			return err
		}
		if response.StatusCode != http.StatusNotFound {
			return fmt.Errorf("nginx answers %d to a request for no Ingress: want 404, that of its own default backend", response.StatusCode)
		}
	}
	return nil
}

// ingressFolders makes the folders that are mounted over those the controller has compiled in.
func (c *Cluster) ingressFolders(ctx context.Context, packages string) (string, error) {
	module, err := foreign.ModuleDirOf(ctx, foreign.IngressNginx, "k8s.io/ingress-nginx")
	if err != nil {
		return "", err
	}
	work := c.path("ingress-nginx")
	for _, dir := range []string{"etc/nginx", "etc/ingress-controller", "nginx", "ingress-controller/ssl", "ingress-controller/auth", "ingress-controller/telemetry", "tmp"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return "", err
		}
	}
	if err := copyFiles(os.DirFS(filepath.Join(module, "rootfs", "etc", "nginx")), filepath.Join(work, "nginx")); err != nil {
		return "", err
	}
	types, err := os.ReadFile(filepath.Join(packages, "etc", "nginx", "mime.types"))
	if os.IsNotExist(err) {
		types, err = os.ReadFile("/etc/nginx/mime.types") // nginx is installed.
	}
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(work, "nginx", "mime.types"), types, 0o644); err != nil {
		return "", err
	}
	if err := ownIngressFiles(work); err != nil {
		return "", err
	}
	template := filepath.Join(work, "nginx", "template", "nginx.tmpl")
	text, err := os.ReadFile(template)
	if err != nil {
		return "", err
	}
	edited, err := debianTemplate(string(text))
	if err != nil {
		return "", err
	}
	return work, os.WriteFile(template, []byte(edited), 0o644)
}

// ownIngressFiles adds the scripts that start it and a stand-in for each Lua library that Debian does not have.
func ownIngressFiles(work string) error {
	own, err := fs.Sub(ingressFiles, "ingressnginx")
	if err != nil {
		return err
	}
	if err := copyFiles(own, filepath.Join(work, "nginx", "lua")); err != nil {
		return err
	}
	lua := filepath.Join(work, "nginx", "lua")
	for _, script := range []string{"start.sh", "nginx.sh"} {
		if err := os.Rename(filepath.Join(lua, script), filepath.Join(work, script)); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(work, script), 0o755); err != nil {
			return err
		}
	}
	absent, err := os.ReadFile(filepath.Join(lua, "absent.lua"))
	if err != nil {
		return err
	}
	for _, name := range absentLibraries {
		file := filepath.Join(lua, "resty", name+".lua")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, absent, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// debianTemplate is ingress-nginx's template for Debian's nginx: its modules are loaded, nginx keeps the one user there is,
// and TCP and UDP services, which need Lua for streams, are only listened for.
func debianTemplate(text string) (string, error) {
	const modules = "/usr/lib/nginx/modules/"
	head := "user root;\n"
	for _, m := range []string{"ndk_http_module", "ngx_http_lua_module", "ngx_http_headers_more_filter_module", "ngx_stream_module"} {
		head += "load_module " + modules + m + ".so;\n"
	}
	at := strings.Index(text, "\nstream {")
	end := strings.Index(text, "{{/* definition of templates")
	if at < 0 || end < at {
		return "", fmt.Errorf("the template of this ingress-nginx has no stream block where one is expected: adapt debianTemplate")
	}
	// The controller writes "[]" and a line end, four bytes in two writes, and fails when the connection ends between them.
	// ssl_preread waits for five bytes or for the other side to close.
	stream := "\nstream { server { listen 127.0.0.1:{{ .StreamPort }}; ssl_preread on; return \"\"; } }\n\n"
	text = text[:at] + stream + text[end:]
	const pid = "pid {{ .PID }};"
	if !strings.Contains(text, pid) {
		return "", fmt.Errorf("the template of this ingress-nginx has no line %q: adapt debianTemplate", pid)
	}
	text = strings.Replace(text, pid, pid+"\n"+head, 1)
	return strings.ReplaceAll(text, "http2 on;", ""), nil
}

// copyFiles copies a tree so that the copy can be written, which files of modules cannot.
func copyFiles(from fs.FS, to string) error {
	return fs.WalkDir(from, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, path), 0o755)
		}
		data, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), data, 0o644)
	})
}

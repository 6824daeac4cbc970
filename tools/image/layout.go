package main

import (
	"context"
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// build compiles for every platform and writes the layout; it answers the digest of
// the image index.
func build(ctx context.Context, src source, out string) (v1.Hash, error) {
	plugins, err := src.plugins()
	if err != nil {
		return v1.Hash{}, err
	}
	chosen, err := src.wantedPlatforms()
	if err != nil {
		return v1.Hash{}, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range chosen {
		img, err := buildImage(ctx, src, platform, plugins)
		if err != nil {
			return v1.Hash{}, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	index = mutate.Annotations(index, src.labels()).(v1.ImageIndex)
	if err := os.RemoveAll(out); err != nil {
		return v1.Hash{}, err
	}
	path, err := layout.Write(out, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": src.version})
	if err := path.AppendIndex(index, named); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}

func buildImage(ctx context.Context, src source, platform v1.Platform, plugins []string) (v1.Image, error) {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := src.compile(ctx, platform, dir); err != nil {
		return nil, err
	}
	parts, err := layers(dir, plugins)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.AppendLayers(img, parts...); err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = platform.OS, platform.Architecture, v1.Time{Time: epoch}
	config.Config = v1.Config{
		User:       user,
		Entrypoint: []string{entrypoint},
		WorkingDir: "/",
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=" + roots},
		Labels:     src.labels(),
	}
	for i := range config.History {
		config.History[i] = v1.History{CreatedBy: "sluice tools/image", Created: v1.Time{Time: epoch}}
	}
	return mutate.ConfigFile(img, config)
}

// labels of the images; the index has them as annotations.
func (s source) labels() map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":       "Sluice",
		"org.opencontainers.image.description": "Progressive delivery for Kubernetes: the controller and its bundled plugins",
		"org.opencontainers.image.source":      "https://github.com/sluice-rollouts/sluice",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     s.version,
	}
	if s.revision != "" {
		labels["org.opencontainers.image.revision"] = s.revision
	}
	return labels
}

// imagesIn reads the layout: the digest of its image index, and the image of each
// platform.
func imagesIn(out string) (v1.Hash, map[string]v1.Image, error) {
	outer, err := layout.ImageIndexFromPath(out)
	if err != nil {
		return v1.Hash{}, nil, err
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		return v1.Hash{}, nil, err
	}
	if n := len(manifest.Manifests); n != 1 {
		return v1.Hash{}, nil, fmt.Errorf("%s: index.json names %d images, not one image index", out, n)
	}
	digest := manifest.Manifests[0].Digest
	index, err := outer.ImageIndex(digest)
	if err != nil {
		return v1.Hash{}, nil, err
	}
	if manifest, err = index.IndexManifest(); err != nil {
		return v1.Hash{}, nil, err
	}
	images := map[string]v1.Image{}
	for _, d := range manifest.Manifests {
		if images[d.Platform.String()], err = index.Image(d.Digest); err != nil {
			return v1.Hash{}, nil, err
		}
	}
	return digest, images, nil
}

func digestOf(out string) (v1.Hash, error) {
	digest, _, err := imagesIn(out)
	return digest, err
}

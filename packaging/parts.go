package main

import (
	"debug/buildinfo"
	"io"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// writeParts writes a CycloneDX list of what a program is made of, as the Go tool
// recorded it in the program.
func (r *release) writeParts(path string, p program) error {
	info, err := buildinfo.ReadFile(p.path)
	if err != nil {
		return err
	}
	self := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeApplication, BOMRef: "pkg:golang/" + info.Main.Path + "@v" + r.version,
		Name: info.Main.Path, Version: "v" + r.version, PackageURL: "pkg:golang/" + info.Main.Path + "@v" + r.version,
		Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "MIT"}}},
	}
	parts := []cyclonedx.Component{library("std", info.GoVersion[len("go"):])}
	for _, m := range info.Deps {
		if m.Replace != nil && m.Replace.Version == "" {
			continue // a part of this repository
		}
		if m.Replace != nil {
			m = m.Replace
		}
		parts = append(parts, library(m.Path, m.Version))
	}
	var needs []string
	for _, part := range parts {
		needs = append(needs, part.BOMRef)
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Timestamp: r.time.Format(time.RFC3339), Component: &self}
	bom.Components = &parts
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: self.BOMRef, Dependencies: &needs}}
	return createFile(path, func(w io.Writer) error {
		return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	})
}

func library(path, version string) cyclonedx.Component {
	url := "pkg:golang/" + path + "@" + version
	return cyclonedx.Component{Type: cyclonedx.ComponentTypeLibrary, BOMRef: url, Name: path, Version: version, PackageURL: url}
}

module github.com/fluxkeep/fluxkeep/e2e/flux

go 1.26.0

require (
	github.com/fluxkeep/fluxkeep/client v0.0.0
	github.com/influxdata/flux v0.65.1
)

require (
	cloud.google.com/go/bigtable v1.58.0 // indirect
	github.com/apache/arrow/go/arrow v0.0.0-20191024131854-af6fa24be0db // indirect
	github.com/gofrs/uuid v3.3.0+incompatible // indirect
	github.com/google/flatbuffers v1.11.0 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/influxdata/tdigest v0.0.0-20181121200506-bf2b5ad3c0a9 // indirect
	github.com/opentracing/opentracing-go v1.0.2 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	go.uber.org/atomic v1.3.2 // indirect
	go.uber.org/multierr v1.1.0 // indirect
	go.uber.org/zap v1.9.1 // indirect
	golang.org/x/net v0.62.0 // indirect
	google.golang.org/api v0.287.1 // indirect
)

replace github.com/fluxkeep/fluxkeep/client => ../../client

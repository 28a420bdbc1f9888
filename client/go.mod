module github.com/fluxkeep/fluxkeep/client

go 1.26.0

// Package web tests the web page in a real Chromium, against the real server. It is a
// module of its own, so that the product does not depend on the driver.
//
// The tests need a Chromium in PATH, and install axe-core with npm into the user's cache
// folder. If something is missing, they are skipped and print the reason; with
// FLUXKEEP_E2E=require they fail. With -short, all are skipped.
//
// With -pictures, the pictures of docs/web.md are made again.
package web

package web

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// BenchmarkDrawing measures how much processor time of its main thread the browser takes
// from the arrival of a list of secrets until it is painted. Processor time depends less
// than elapsed time on what else runs.
func BenchmarkDrawing(b *testing.B) {
	for _, count := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			s := start(b)
			s.setUp(nil)
			s.set(manySecrets(count))
			list := s.signedIn("/secrets")
			list.await("secret_00000")
			list.do(performance.Enable().WithTimeDomain(performance.EnableTimeDomainThreadTicks))
			sum := map[string]float64{}
			for b.Loop() {
				list.goTo("/ui/me")
				before := list.metrics()
				list.goTo(s.orgPath("/secrets"))
				list.do(chromedp.Evaluate("new Promise(drawn => requestAnimationFrame(() => setTimeout(drawn)))", nil, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
				for name, value := range list.metrics() {
					sum[name] += value - before[name]
				}
			}
			for metric, unit := range map[string]string{"TaskDuration": "all-ms", "LayoutDuration": "layout-ms", "RecalcStyleDuration": "style-ms", "ScriptDuration": "script-ms"} {
				b.ReportMetric(1000*sum[metric]/float64(b.N), unit)
			}
		})
	}
}

// metrics returns the browser's own measurements, in seconds.
func (b *tab) metrics() map[string]float64 {
	b.t.Helper()
	out := map[string]float64{}
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		all, err := performance.GetMetrics().Do(ctx)
		for _, m := range all {
			out[m.Name] = m.Value
		}
		return err
	}))
	return out
}

func manySecrets(count int) map[string]string {
	secrets := make(map[string]string, count)
	for i := range count {
		secrets[fmt.Sprintf("secret_%05d", i)] = "value"
	}
	return secrets
}

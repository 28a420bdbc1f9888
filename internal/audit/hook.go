package audit

// Point is a place in the log's work where a test can fail it or end it.
type Point int

// A Before point comes right before the step and an After point right after it.
const (
	BeforeWrite Point = iota + 1
	AfterWrite
	BeforeSync // of the file
	AfterSync
	BeforeDirSync // of its directory
	AfterDirSync
	BeforeRename // of the file that is left, in a rotation
	AfterRename
	BeforeCreate // of the file that follows
	AfterCreate
	BeforeCut // of a line that was written by half
	AfterCut
)

// around calls step between two points, of which before is the first. A hook's
// error before the step stands for a step that was lost, one after it for a
// step that was done and reported as failed.
func around(hook func(Point) error, before Point, step func() error) error {
	if hook == nil {
		return step()
	}
	if err := hook(before); err != nil {
		return err
	}
	if err := step(); err != nil {
		return err
	}
	return hook(before + 1)
}

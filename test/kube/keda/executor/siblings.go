// Package executor is completed by two files of KEDA's own package of that name: those for ScaledJobs. The one for ScaledObjects needs the
// client libraries of all clouds.
package executor

import (
	"context"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
)

func (e *scaleExecutor) RequestScale(context.Context, *kedav1alpha1.ScaledObject, bool, bool, ScaleExecutorOptions) ScaleResult {
	panic("there are only ScaledJobs here")
}

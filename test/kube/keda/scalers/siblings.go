// Package scalers is completed by files of KEDA's own package of that name; this is what these need of others in it.
package scalers

import v2 "k8s.io/api/autoscaling/v2"

const (
	externalMetricType = v2.ExternalMetricSourceType
	stringEnable       = "enable"
	stringDisable      = "disable"
)

// KEDA's own code for ScaledJobs, in one process for one of them, with a Redis list as its trigger. Arguments: kubeconfig, namespace and
// name of the ScaledJob, which is read from the cluster at each check, as are its Jobs. Prints a line when it begins, logs to standard
// error, and runs until it is killed.
//
// From KEDA are the type with its defaults, the scaler, what follows from the length of the list, the strategies, and how Jobs are created
// and removed. The loop is written after pkg/scaling/scale_handler.go, which has the client libraries of every scaler.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr/funcr"
	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	"github.com/kedacore/keda/v2/pkg/scaling/scaledjob"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"millrace.dev/keda-caller/executor"
	"millrace.dev/keda-caller/scalers"
)

const apiTimeout = 3 * time.Second

func main() {
	log.SetLogger(funcr.New(func(prefix, args string) {
		fmt.Fprintln(os.Stderr, prefix, args)
	}, funcr.Options{LogTimestamp: true}))
	if err := run(context.Background(), os.Args[1], types.NamespacedName{Namespace: os.Args[2], Name: os.Args[3]}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig string, name types.NamespacedName) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := kedav1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	scaledJob := &kedav1alpha1.ScaledJob{}
	if err := api.Get(ctx, name, scaledJob); err != nil {
		return err
	}
	triggers, err := kedav1alpha1.AsDuckWithTriggers(scaledJob)
	if err != nil {
		return err
	}
	scaler, err := scalers.NewRedisScaler(ctx, false, false, &scalersconfig.ScalerConfig{
		ScalableObjectName:      name.Name,
		ScalableObjectNamespace: name.Namespace,
		ScalableObjectType:      "ScaledJob",
		TriggerMetadata:         scaledJob.Spec.Triggers[0].Metadata,
		ResolvedEnv:             map[string]string{},
		AuthParams:              map[string]string{},
	})
	if err != nil {
		return err
	}
	scaling := executor.NewScaleExecutor(api, nil, scheme, apiTimeout, &events.FakeRecorder{})
	fmt.Println("begins")
	for ticks := time.Tick(triggers.GetPollingInterval()); ; <-ticks {
		if err := check(ctx, api, scaler, scaling, name); err != nil {
			log.Log.Error(err, "check failed")
		}
	}
}

func check(ctx context.Context, api client.Client, scaler scalers.Scaler, scaling executor.ScaleExecutor, name types.NamespacedName) error {
	scaledJob := &kedav1alpha1.ScaledJob{}
	if err := api.Get(ctx, name, scaledJob); err != nil {
		return err
	}
	specs := scaler.GetMetricSpecForScaling(ctx)
	values, isTriggerActive, err := scaler.GetMetricsAndActivity(ctx, specs[0].External.Metric.Name)
	if err != nil {
		return err
	}
	length, most, _ := scaledjob.CalculateQueueLengthAndMaxValue(values, specs, scaledJob.MaxReplicaCount())
	metrics := []scaledjob.ScalerMetrics{{QueueLength: length, MaxValue: most, IsActive: isTriggerActive}}
	isActive, scaleTo, maxScale, _ := scaledjob.IsScaledJobActive(metrics, scaledJob.Spec.ScalingStrategy.MultipleScalersCalculation,
		scaledJob.MinReplicaCount(), scaledJob.MaxReplicaCount())
	return scaling.RequestJobScale(ctx, scaledJob, isActive, false, scaleTo, maxScale, executor.ScaleExecutorOptions{}).Error
}

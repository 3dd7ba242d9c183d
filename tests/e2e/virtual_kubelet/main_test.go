// Runs virtual-kubelet's end-to-end suite, as its own repository has it, against a node that is there.
package main

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/test/e2e"
)

var (
	kubeconfig = flag.String("kubeconfig", "", "the cluster, and a user who may do everything there")
	namespace  = flag.String("namespace", "default", "where the suite makes its Pods")
	node       = flag.String("node-name", "", "the node to test")
	patience   = flag.Duration("patience", time.Minute, "how long a Pod or an event may take")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

func TestEndToEnd(t *testing.T) {
	e2e.NewEndToEndTestSuite(e2e.EndToEndTestSuiteConfig{
		Kubeconfig:   *kubeconfig,
		Namespace:    *namespace,
		NodeName:     *node,
		WatchTimeout: *patience,
	}).Run(t)
}

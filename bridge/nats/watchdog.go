package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// watchdog tells systemd that the bridge runs, and that it lives as often as WatchdogSec asks for
// it, until ctx is done. A bridge that is stopped, or a route that hangs, says nothing: systemd
// kills the process and starts it again.
func watchdog(ctx context.Context, alive func() error) {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		if err != nil {
			slog.Warn("no watchdog", "error", err)
		}
		return
	}
	t := time.NewTicker(every / 3)
	defer t.Stop()
	for {
		if err := alive(); err != nil {
			slog.Error("the watchdog is not told that the bridge lives", "error", err)
		} else if _, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); err != nil {
			slog.Warn("the watchdog is not told that the bridge lives", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// stopping tells systemd that the process ends. A bridge that only reads its settings again does
// not say so: systemd would kill it.
func stopping() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) }

// Package natsbridge mirrors boxes, topics, queues and maps of ShmemBox between machines, over NATS
// JetStream. It knows no Go types: each segment has its schema, which travels with the data.
//
//	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
//	b, err := natsbridge.New(nc, nil)
//	err = b.Out("box:cfg", "queue:jobs") // segments of this machine
//	err = b.In("topic:ticks")            // segments that this machine mirrors
//	err = b.Run(ctx)
//
// # Routes
//
// A route is KIND:NAME, or KIND:NAME=SEGMENT where the segment here has another name than the
// route. Only what is named is sent or received.
//
//   - box: the latest value goes to a key of a bucket, by its revision. Values that follow each
//     other fast are conflated. A mirror that another process writes is put right, and counted.
//   - topic: its messages go to a stream, in order and none twice. What the ring of the topic lost
//     is counted in the frames. A host that comes late gets all that the stream keeps.
//   - queue: its messages go to a work-queue stream, at-least-once. The receiver removes duplicates
//     by the message's position. A message that it cannot read goes to a stream of dead letters.
//   - map: the entries of a kv.Map go to a bucket of its own, with the times at which they expire.
//     Both sides compare all that they have when they begin. A mirror that another process changes
//     is put right, and counted.
//
// # Deaths and cuts
//
// The bridge keeps no file: the last frame of a key or stream says where to go on, and a kept box
// beside each mirror says what was applied. Attachments to what goes out are passive: the owner
// finds its segment as if the bridge was not there. A cut ends what is in flight, and the route
// begins anew at the next connection.
//
// JetStream acknowledges before its files are on disk: what a server accepted survives its process,
// and survives its machine only as its sync_interval and replicas say.
package natsbridge

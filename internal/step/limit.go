package step

// Rate limits.
const (
	LimitStale    Point = "limit.stale"    // an old boot's tokens are dropped; its number stands
	LimitBoot     Point = "limit.boot"     // the bucket counts from this boot; no token is taken
	LimitTaken    Point = "limit.taken"    // the tokens are taken; the caller does not know yet
	LimitCanceled Point = "limit.canceled" // tokens of a reservation are in the bucket again
)

// Limit lists the points above.
var Limit = []Point{LimitStale, LimitBoot, LimitTaken, LimitCanceled}

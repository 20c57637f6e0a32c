/// When somebody last relied on something: a collector leaves alone what has a young lease, whether anything refers to it
/// or not. Nobody is locked out by a lease, and nobody has to give one back.
///
/// Who is about to rely on something renews its lease first and writes down what refers to it then. A lease that is younger
/// than a quarter of the grace period need not be renewed: what is written before the rest of the period is over is safe.
package struct Lease: Hashable, Sendable, Comparable {
    /// In nanoseconds since 1970.
    package let time: Int64

    package init(_ time: Int64) { self.time = time }

    package static func < (left: Lease, right: Lease) -> Bool { left.time < right.time }

    package func needsRenewal(at now: Int64, grace: Int64) -> Bool { now - time >= grace / 4 }

    /// Never older than it was, whatever the clocks of several writers say.
    package func renewed(at now: Int64) -> Lease { Lease(max(now, time)) }

    /// Whether it counts for nothing.
    /// - Parameter cutoff: when a collection began, less the grace period and what clocks may differ by.
    package func isOver(before cutoff: Int64) -> Bool { time < cutoff }
}

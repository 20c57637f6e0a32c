package import NIOCore

/// A rate limit for each address: `burst` attempts at once, and then one in each `interval`. One limiter counts wrong
/// passwords, another one requests.
///
/// An attempt counts before it is made, so that many at once can't get around the limit, and can be given back. When
/// there are too many addresses, those that made no attempt for longest are forgotten.
package struct AddressLimiter {
    let burst: Int
    let interval: TimeAmount
    /// How many addresses are remembered.
    let maximum: Int
    /// When all attempts of an address are paid off, at one in each interval. New values go to `young`; when that is
    /// full it becomes `old`, and the values of the former `old` that did not change since are forgotten.
    private var young: [ClientAddress: NIODeadline] = [:]
    private var old: [ClientAddress: NIODeadline] = [:]

    package init(burst: Int, interval: TimeAmount, maximum: Int) {
        self.burst = burst
        self.interval = interval
        self.maximum = maximum
    }

    var count: Int { young.count + old.count }

    /// Counts an attempt.
    /// - Returns: nil if the attempt is allowed, or how long the address has to wait until it is.
    package mutating func take(_ address: ClientAddress, now: NIODeadline) -> TimeAmount? {
        let owed = max(young[address] ?? old[address] ?? now, now)
        let wait = owed - now + interval - interval * burst
        guard wait <= .zero else { return wait }
        set(owed + interval, for: address)
        return nil
    }

    package mutating func giveBack(_ address: ClientAddress) {
        guard let owed = young[address] ?? old[address] else { return }
        set(owed - interval, for: address)
    }

    private mutating func set(_ owed: NIODeadline, for address: ClientAddress) {
        if young[address] == nil, young.count >= max(1, maximum / 2) {
            old = young
            young = [:]
        }
        old[address] = nil
        young[address] = owed
    }
}

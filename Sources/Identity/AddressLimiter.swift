package import NIOCore

/// How often each address may do something: `burst` times at once, and then once in each `interval`. Of wrong passwords
/// there is one of these, and of requests another.
///
/// An attempt is paid for before it is made, so that many at once are no way around it, and can be given back.
/// Addresses are forgotten when there are too many, the oldest first.
package struct AddressLimiter {
    let burst: Int
    let interval: TimeAmount
    /// Addresses that are remembered.
    let maximum: Int
    /// When an address will owe nothing any more. Written to `young`; when that is full it becomes `old`, and what was
    /// in `old` and not asked for since is forgotten.
    private var young: [ClientAddress: NIODeadline] = [:]
    private var old: [ClientAddress: NIODeadline] = [:]

    package init(burst: Int, interval: TimeAmount, maximum: Int) {
        self.burst = burst
        self.interval = interval
        self.maximum = maximum
    }

    var count: Int { young.count + old.count }

    /// Takes an attempt.
    /// - Returns: nil, or how long the address has to wait for the next one.
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

import Synchronization

/// Bytes that are held for something under way. They are given back when it ends, however it ends: by `commit`, by
/// `release`, or when nobody has this any more.
public final class QuotaReservation: Sendable {
    private let book: QuotaLedger
    private let id: UInt64

    init(book: QuotaLedger, id: UInt64) {
        self.book = book
        self.id = id
    }

    deinit { book.release(id) }

    /// Makes sure that so many bytes are held in all. Waits for the first count if nothing is known yet.
    /// - Throws: `.overQuota`, `.uncounted`; what was held before is still held.
    public func cover(_ total: Int64) async throws(BlobError) {
        while true {
            switch book.hold(id, total) {
            case .held: return
            case .denied(let denial): throw .overQuota(denial)
            case .uncounted: guard await book.waitForCount() else { throw .uncounted }
            }
        }
    }

    /// Gives back all but so many bytes.
    public func shrink(to total: Int64) { book.shrink(id, total) }

    /// Says which object will hold the content, before it does.
    func name(_ key: String) { book.name(id, key) }

    /// What was under way is there: from now on so many bytes are used instead of held.
    public func commit(_ bytes: Int64) { book.commit(id, bytes) }

    /// It failed. Where it may have happened nevertheless its bytes count as used, until a count tells.
    func end(_ bytes: Int64, isOutcomeUnknown: Bool) {
        guard isOutcomeUnknown else { return release() }
        commit(bytes)
        book.removed()
    }

    /// It came to nothing, or was there already.
    public func release() { book.release(id) }
}

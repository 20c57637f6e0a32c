import Rootfs
import Synchronization

/// The part of the apps' names that was listed last, so that the pages of a list of all apps don't each cost a look at all
/// names. Uploads and removals of this process, the store's only writer, forget it.
final class AppList: Sendable {
    private struct Part {
        let after: String?
        let names: [String]
        /// Whether there are none behind these.
        let isLast: Bool
    }

    private struct State {
        var part: Part?
        var changes = 0
    }

    /// How many names are kept; as many as the filesystem store reads at a time.
    private static let size = 8192

    private let state = Mutex(State())

    func forget() {
        state.withLock { state in
            state.part = nil
            state.changes += 1
        }
    }

    /// The names after a text, in byte order; fewer than `limit` are the last ones.
    /// - Parameter list: reads so many names after a text from the store.
    func names(
        after text: String?, limit: Int, _ list: (_ after: String?, _ limit: Int) async throws(ImageError) -> [String]
    ) async throws(ImageError) -> [String] {
        let (known, changes) = state.withLock { ($0.part.flatMap { Self.names($0, after: text, limit) }, $0.changes) }
        if let known { return known }
        let size = max(limit, Self.size)
        let names = try await list(text, size)
        state.withLock { state in
            guard state.changes == changes else { return }
            state.part = Part(after: text, names: names, isLast: names.count < size)
        }
        return Array(names.prefix(limit))
    }

    /// - Returns: nil if the part does not have all of them.
    private static func names(_ part: Part, after text: String?, _ limit: Int) -> [String]? {
        func isBefore(_ one: String, _ other: String) -> Bool { one.utf8.lexicographicallyPrecedes(other.utf8) }
        if let after = part.after { guard let text, !isBefore(text, after) else { return nil } }
        // The first place whose name comes after the text.
        var (low, high) = (0, part.names.count)
        while let text, low < high {
            let middle = (low + high) / 2
            if isBefore(text, part.names[middle]) { high = middle } else { low = middle + 1 }
        }
        guard part.isLast || part.names.count - low >= limit else { return nil }
        return Array(part.names[low...].prefix(limit))
    }
}

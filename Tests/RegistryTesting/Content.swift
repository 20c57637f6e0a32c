package import ObjectStore

/// On which side of the size content is up to which its record holds it: what is smaller goes another way.
package enum Content: CaseIterable, Sendable {
    case inRecord, inObject

    /// A text as content, filled up if need be.
    package func text(_ text: String) -> String {
        self == .inRecord ? text : text + String(repeating: ".", count: 5000)
    }

    package func bytes(_ text: String) -> [UInt8] { Array(self.text(text).utf8) }
}

extension ObjectStore {
    /// What each piece of content takes, whoever names it: an object below `data/`, or the end of a record.
    package func contentSizes() async throws -> [Int64] {
        let objects = try await list(prefix: "data/", startAfter: nil, limit: 100_000).map(\.size)
        let records = try await list(prefix: "blobs/", startAfter: nil, limit: 100_000).map(\.size)
        return objects + records.filter { $0 >= 128 }.map { $0 - 128 }
    }
}

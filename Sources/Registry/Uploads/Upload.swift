import Blobs
public import OCI

/// The name of an upload: a random UUID (OCI distribution specification, "Pushing blobs").
public struct UploadID: Hashable, Sendable, CustomStringConvertible {
    public let text: String

    static func random() -> UploadID {
        var generator = SystemRandomNumberGenerator()
        var bytes = (0..<16).map { _ in UInt8(truncatingIfNeeded: generator.next() as UInt64) }
        bytes[6] = bytes[6] & 0x0f | 0x40
        bytes[8] = bytes[8] & 0x3f | 0x80
        var text = ""
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return UploadID(text: text)
    }

    private init(text: String) { self.text = text }

    /// What a client names; whether there is such an upload is another question.
    public init?(parsing text: String) {
        guard text.utf8.count == 36, text.utf8.allSatisfy({ "0123456789abcdef-".utf8.contains($0) }) else { return nil }
        self.text = text
    }

    public var description: String { text }
}

/// Whose an upload is: to everybody else it is not there.
public struct UploadOwner: Hashable, Sendable {
    let repository: RepositoryName
    /// The name's bytes: what only looks alike is another user.
    let user: [UInt8]

    public init(repository: RepositoryName, user: String) {
        self.repository = repository
        self.user = Array(user.utf8)
    }
}

/// What is known of bytes that were uploaded so far. One request at a time has it.
struct UploadSession: Sendable {
    let id: UploadID
    let owner: UploadOwner
    /// nil before the first byte.
    var writer: BlobWriter?
    /// Of the repository's quotas: given back when nobody has the session any more.
    let reservation: QuotaReservation
    var hasher: DigestHasher
    /// In bytes.
    var received: Int64 = 0
}

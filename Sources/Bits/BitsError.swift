public import Archive
public import Blobs
public import ObjectStore
package import Records

/// Why app bits could not be read or written.
public enum BitsError: Error, Sendable {
    /// A guid, a stack or a checksum does not match its grammar.
    case invalidName(what: String, text: String)
    case unknown(BitsName)
    /// A file that is to be merged into a package is not in the stash. The value is its SHA-1.
    case unknownResource(String)
    /// A list of files, or another document that came with the bits, can't be used; the text says why.
    case invalidDocument(String)
    /// No byte came.
    case empty
    /// The bits have more bytes than are taken.
    case tooLarge(maximum: Int64)
    /// The bytes received are not the ones announced.
    case checksumMismatch(announced: String, received: String)
    /// The bits are not a zip, or one that is refused.
    case archive(ArchiveError)
    /// A stored record can't be read.
    case damaged(ObjectKey)
    /// The change was given up because other writers changed the same record too often.
    case contended(ObjectKey)
    case blob(BlobError)
    case store(ObjectStoreError)
    /// The sender failed or went away; the value is its own error.
    case input(any Error)
    case cancelled
}

extension BitsError: RecordFailure {
    package init(_ error: RecordError) {
        switch error {
        case .unreadable(let record): self = .damaged(record.key)
        case .contended(let key): self = .contended(key)
        case .store(.cancelled): self = .cancelled
        case .store(let error): self = .store(error)
        }
    }
}

extension BitsError: BlobFailure {
    public init(_ error: BlobError) { self = .blob(error) }

    /// - Parameter maximum: how many bytes were allowed.
    init(_ error: IngestError, maximum: Int64) {
        switch error {
        case .mismatch(let announced, let received):
            self = .checksumMismatch(announced: announced.description, received: received.description)
        case .tooLarge: self = .tooLarge(maximum: maximum)
        case .input(let error): self = .input(error)
        case .cancelled: self = .cancelled
        case .blob(let error): self = .blob(error)
        }
    }
}

extension BitsError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .invalidName(let what, let text): "'\(text.prefix(256))' is not a valid \(what)"
        case .unknown(let name): "there is no \(name)"
        case .unknownResource(let sha1): "there is no file with the SHA-1 \(sha1) in the stash"
        case .invalidDocument(let reason): reason
        case .empty: "no bits came"
        case .tooLarge(let maximum): "the bits have more than \(maximum) bytes"
        case .checksumMismatch(let announced, let received):
            "the bytes received have the checksum \(received), announced was \(announced)"
        case .archive(let error): "the zip is refused: \(error)"
        case .damaged(let key): "the record \(key) can't be read: `cistern verify` says more"
        case .contended(let key): "the record \(key) changes too often"
        case .blob(let error): error.description
        case .store(let error): error.description
        case .input: "the transfer broke off"
        case .cancelled: "cancelled"
        }
    }
}

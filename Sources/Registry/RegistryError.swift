public import Blobs
public import OCI
public import ObjectStore
package import Records

/// Why the registry did not do what it was asked to do.
public enum RegistryError: Error {
    case unknownRepository(RepositoryName)
    case unknownManifest(RepositoryName, Reference)
    case unknownBlob(RepositoryName, Digest)
    /// There is no such upload, or it belongs to another user or repository.
    case unknownUpload
    /// Another request writes to the upload at the moment.
    case busyUpload
    /// A chunk does not begin at the end of what was received.
    /// - Parameter received: bytes received so far.
    case outOfOrder(received: Int64)
    case tooManyUploads
    /// Content has another checksum than the client announced.
    case mismatch(announced: Checksum, received: Checksum)
    /// A chunk has another length than it declared.
    case sizeMismatch(expected: Int64, actual: Int64)
    case tooLarge(maximum: Int64)
    case invalidManifest(String)
    /// Content that the repository had is gone: push it again.
    case missingContent([Digest])
    /// The change was given up because other requests changed the same manifest or tag too often.
    case contended
    /// A repository's record of something can't be read.
    case unreadable(ObjectKey)
    case blob(BlobError)
    case store(ObjectStoreError)
    /// The sender failed; the value is its own error.
    case input(any Error)
    case cancelled
}

extension RegistryError: RecordFailure {
    package init(_ error: RecordError) {
        switch error {
        case .unreadable(let record): self = .unreadable(record.key)
        case .contended: self = .contended
        case .store(.cancelled): self = .cancelled
        case .store(let error): self = .store(error)
        }
    }
}

extension RegistryError: BlobFailure {
    public init(_ error: BlobError) { self = .blob(error) }
}

extension RegistryError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unknownRepository(let name): "there is no repository '\(name)'"
        case .unknownManifest(let name, let reference): "the repository '\(name)' has no manifest \(reference)"
        case .unknownBlob(let name, let digest): "the repository '\(name)' has no blob \(digest)"
        case .unknownUpload: "there is no such upload: begin it again"
        case .busyUpload: "another request writes to this upload"
        case .outOfOrder(let received): "the next chunk begins at byte \(received)"
        case .tooManyUploads: "too many uploads are under way: try again later"
        case .mismatch(let announced, let received): "the content's digest is \(received) and not \(announced)"
        case .sizeMismatch(let expected, let actual): "\(actual) bytes came where \(expected) were declared"
        case .tooLarge(let maximum): "more than \(maximum) bytes are not taken"
        case .invalidManifest(let reason): reason
        case .missingContent(let digests):
            "the manifest refers to content that this repository no longer has: "
                + digests.prefix(10).map(\.description).joined(separator: ", ")
        case .contended: "the same content is changed too often: try again"
        case .unreadable(let key): "the record \(key) can't be read: `cistern verify` says more"
        case .blob(let error): error.description
        case .store(let error): error.description
        case .input(let error): "the sender failed: \(error)"
        case .cancelled: "cancelled"
        }
    }
}

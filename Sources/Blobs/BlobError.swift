public import OCI
public import ObjectStore
package import Records

/// Why a blob could not be read or written.
public enum BlobError: Error, Hashable, Sendable {
    case missing(Digest)
    /// The record can't be read, or the bytes it names are missing or have another size.
    case damaged(Digest)
    /// The change was given up because other writers changed the same record too often.
    case contended(Digest)
    /// The bytes would exceed the store's limit or a repository's quota.
    case overQuota(QuotaDenial)
    /// What is used of a limit is not known, because the last count failed.
    case uncounted
    case store(ObjectStoreError)
}

extension BlobError: RecordFailure {
    package init(_ error: RecordError) {
        switch error {
        case .unreadable(let record): self = Self.about(record.key, BlobError.damaged, record.description)
        case .contended(let key): self = Self.about(key, BlobError.contended, "the record \(key) changes too often")
        case .store(let error): self = .store(error)
        }
    }

    /// The error for the blob that `key` records, or an I/O error with `text` if `key` is not a blob record's key.
    private static func about(_ key: ObjectKey, _ error: (Digest) -> BlobError, _ text: String) -> BlobError {
        BlobRecord.digest(of: key).map(error) ?? .store(.io(text))
    }
}

extension BlobError {
    /// Whether the store did not say if the change took place, so that it may have been made or may still be made.
    public var isOutcomeUnknown: Bool { if case .store(let error) = self { error.isOutcomeUnknown } else { false } }
}

/// An error that can be made from a `BlobError`, so that targets which keep blobs need not translate at each call.
public protocol BlobFailure: Error {
    init(_ error: BlobError)
}

extension BlobFailure {
    /// Returns what a call of the blob store returns, or throws its `BlobError` as this type.
    public static func ofBlobs<Value>(
        _ call: @autoclosure () async throws(BlobError) -> Value
    ) async throws(Self) -> Value {
        do { return try await call() } catch { throw Self(error) }
    }
}

extension IngestError: BlobFailure {
    public init(_ error: BlobError) { self = .blob(error) }
}

extension BlobError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .missing(let digest): "there is no blob \(digest)"
        case .damaged(let digest): "the blob \(digest) is damaged"
        case .contended(let digest): "the record of \(digest) changes too often"
        case .overQuota(let denial): denial.description
        case .uncounted: "what is used of a quota can't be counted at the moment: try again"
        case .store(let error): error.description
        }
    }
}

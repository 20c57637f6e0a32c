public import OCI
public import ObjectStore
package import Records

/// Why a blob could not be read or written.
public enum BlobError: Error, Hashable, Sendable {
    case missing(Digest)
    /// The record can't be read, or its bytes are not there or have another size.
    case damaged(Digest)
    /// So many others changed the same record that this change was given up.
    case contended(Digest)
    /// A limit stands in the way.
    case overQuota(QuotaDenial)
    /// What is used of a limit is not known, since it can't be counted.
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

    /// - Parameter text: for a key that is no record's.
    private static func about(_ key: ObjectKey, _ error: (Digest) -> BlobError, _ text: String) -> BlobError {
        BlobRecord.digest(of: key).map(error) ?? .store(.io(text))
    }
}

extension BlobError {
    /// Whether what was asked for may have happened, or may happen yet.
    public var isOutcomeUnknown: Bool { if case .store(let error) = self { error.isOutcomeUnknown } else { false } }
}

/// An error type that says what blobs say, so that whoever keeps blobs need not translate at each call.
public protocol BlobFailure: Error {
    init(_ error: BlobError)
}

extension BlobFailure {
    /// What a call of blobs gives, or its failure in this type's words.
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

import Archive
import Bits
import Blobs
package import HTTPServer
package import HTTPTypes
import Layers
import ObjectStore
import Operations
import Records
import Registry
import Rootfs

/// How an error of the domain is answered: the one table from errors to HTTP statuses.
///
/// Each API has its own wording and error codes, but whether a client should try again must not depend on the API.
/// Statuses differ between APIs only where the contract of an API's clients demands it.
package struct ErrorStatus: Sendable {
    package enum API: CaseIterable, Sendable { case registry, bits, operators }

    package let status: HTTPResponse.Status
    /// The text for a failure of the store, whose own description is not for clients; nil to use the error's
    /// description.
    package let message: String?

    /// `Retry-After`, if trying again may help.
    package var headers: HTTPFields {
        status == .serviceUnavailable || status == .tooManyRequests ? [.retryAfter: "5"] : [:]
    }

    /// - Returns: nil for an internal failure, which is answered with 500 and logged.
    package init?(_ error: any Error, in api: API) {
        let status: ErrorStatus? =
            switch error {
            case let error as ImageError: Self.of(error, in: api)
            case let error as BitsError: Self.of(error, in: api)
            case let error as RegistryError: Self.of(error, in: api)
            case let error as BlobError: Self.of(error, in: api)
            case let error as ObjectStoreError: Self.of(error)
            case let error as OperationError: Self.of(error)
            case let error as HTTPFailure: ErrorStatus(error.status)
            default: nil
            }
        guard let status else { return nil }
        self = status
    }

    /// The HTTP failure of reading the request's body, if that is the cause of an error; else nil.
    package static func ofBody(_ error: any Error) -> HTTPFailure? {
        switch error {
        case let error as HTTPFailure: error
        case ImageError.input(let error), RegistryError.input(let error), BitsError.input(let error): ofBody(error)
        default: nil
        }
    }

    private init(_ status: HTTPResponse.Status, _ message: String? = nil) {
        self.status = status
        self.message = message
    }

    private static let unavailable = ErrorStatus(.serviceUnavailable)
    /// 507 (RFC 4918, section 11.5).
    private static let insufficientStorage = HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage")

    private static func of(_ error: ImageError, in api: API) -> ErrorStatus? {
        switch error {
        case .invalidName, .unsuitableReport: ErrorStatus(.badRequest)
        case .unknownStack, .unknownVersion, .nothingPromoted, .noVariant, .noPackages, .unknownDroplet, .unknownDelta:
            ErrorStatus(.notFound)
        case .rootfsExists, .rootfsInUse, .rootfsNeeded, .versionBlocked, .nothingBefore, .promotedMeanwhile,
            .aliasTaken, .otherBase, .tooManyDroplets:
            ErrorStatus(.conflict)
        case .unsuitableRootfs, .unsuitableImage, .unsuitableDelta, .untrusted, .notOneLayer:
            ErrorStatus(.unprocessableContent)
        // A client that pulls gets 404, because an image that can't be composed does not exist for it.
        case .noLifecycle: ErrorStatus(api == .registry ? .notFound : .unprocessableContent)
        case .checksumMismatch: ErrorStatus(api == .operators ? .unprocessableContent : .badRequest)
        case .rejected(let reason): of(reason)
        case .contended, .cancelled: unavailable
        case .blob(let error): of(error, in: api)
        case .store(let error): of(error)
        case .input(let error): ErrorStatus(error, in: api)
        case .damaged, .signing: nil
        }
    }

    private static func of(_ error: ConversionError) -> ErrorStatus {
        switch error.fault {
        case .tooLarge: ErrorStatus(.contentTooLarge)
        case .noMemory: ErrorStatus(.serviceUnavailable, error.reason)
        case .invalid, .crossesLayers, .repeatsNames: ErrorStatus(.unprocessableContent)
        }
    }

    private static func of(_ error: BitsError, in api: API) -> ErrorStatus? {
        switch error {
        case .invalidName, .checksumMismatch: ErrorStatus(.badRequest)
        case .unknown, .unknownResource: ErrorStatus(.notFound)
        case .empty, .invalidDocument: ErrorStatus(.unprocessableContent)
        case .tooLarge: ErrorStatus(.contentTooLarge)
        case .archive(let error): of(error)
        case .contended, .cancelled: unavailable
        case .blob(let error): of(error, in: api)
        case .store(let error): of(error)
        case .input(let error): ErrorStatus(error, in: api)
        case .damaged: nil
        }
    }

    private static func of(_ error: ArchiveError) -> ErrorStatus? {
        switch error.fault {
        case .invalid: ErrorStatus(.unprocessableContent)
        case .tooLarge: ErrorStatus(.contentTooLarge)
        case .noMemory, .cancelled: unavailable
        case .system: nil
        }
    }

    private static func of(_ error: RegistryError, in api: API) -> ErrorStatus? {
        switch error {
        case .unknownRepository, .unknownManifest, .unknownBlob, .unknownUpload, .missingContent: ErrorStatus(.notFound)
        case .mismatch, .sizeMismatch, .invalidManifest: ErrorStatus(.badRequest)
        case .busyUpload: ErrorStatus(.conflict)
        case .outOfOrder: ErrorStatus(.rangeNotSatisfiable)
        case .tooManyUploads: ErrorStatus(.tooManyRequests)
        case .tooLarge: ErrorStatus(.contentTooLarge)
        case .contended, .cancelled: unavailable
        case .blob(let error): of(error, in: api)
        case .store(let error): of(error)
        case .input(let error): ErrorStatus(error, in: api)
        case .unreadable: nil
        }
    }

    private static func of(_ error: BlobError, in api: API) -> ErrorStatus? {
        switch error {
        case .missing: api == .registry ? ErrorStatus(.notFound) : nil
        // The distribution specification has DENIED (403) for an exceeded quota. A full store is not the client's
        // fault: 507.
        case .overQuota(let denial):
            ErrorStatus(api == .registry && denial.repositories != nil ? .forbidden : insufficientStorage)
        case .contended, .uncounted: unavailable
        case .store(let error): of(error)
        case .damaged: nil
        }
    }

    private static func of(_ error: ObjectStoreError) -> ErrorStatus? {
        switch error {
        case .full: ErrorStatus(insufficientStorage, "the store is full: free some space, then try again")
        case .permission, .owned:
            ErrorStatus(.serviceUnavailable, "the store can't be written at the moment: try again")
        case .io, .unknown, .cancelled: ErrorStatus(.serviceUnavailable, "the store failed: try again")
        // Callers turn these into errors of their own; one that arrives here is an internal failure: 500.
        case .missing, .exists, .changed, .invalidKey, .tooLarge: nil
        }
    }

    private static func of(_ error: OperationError) -> ErrorStatus? {
        switch error {
        case .unknown: ErrorStatus(.notFound)
        case .running, .ended, .cancelled: ErrorStatus(.conflict)
        case .tooMany, .stopping: unavailable
        case .record(.store(let error)): of(error)
        case .record(.contended): unavailable
        case .record(.unreadable): nil
        }
    }
}

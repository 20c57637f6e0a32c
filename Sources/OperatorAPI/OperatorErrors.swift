import Blobs
package import HTTPServer
import HTTPTypes
import Images
import Layers
import ObjectStore
package import Operations
import Records
import Registry
import Rootfs

/// How the operators' API words its failures: `{"code","error","request"}`.
package struct OperatorErrors: ErrorEnvelope {
    package func failure(for error: any Error) -> HTTPFailure? {
        if let error = error as? RegistryError { return failure(for: error) }
        if let error = error as? OperationError { return failure(for: error) }
        guard let error = error as? ImageError else { return nil }
        let message = "\(error)"
        switch error {
        case .invalidName: return HTTPFailure(.badRequest, message, code: "invalid-name")
        case .unknownStack, .unknownVersion, .nothingPromoted, .noVariant, .unknownDroplet, .unknownDelta:
            return HTTPFailure(.notFound, message, code: "unknown")
        case .noPackages: return HTTPFailure(.notFound, message, code: "not-recorded")
        case .unsuitableReport: return HTTPFailure(.badRequest, message, code: "invalid-report")
        case .versionBlocked: return HTTPFailure(.conflict, message, code: "blocked")
        case .nothingBefore: return HTTPFailure(.conflict, message, code: "nothing-before")
        case .promotedMeanwhile: return HTTPFailure(.conflict, message, code: "promoted-meanwhile")
        case .rootfsNeeded: return HTTPFailure(.conflict, message, code: "needed")
        case .notOneLayer: return HTTPFailure(.unprocessableContent, message, code: "several-layers")
        case .rootfsInUse: return HTTPFailure(.conflict, message, code: "in-use")
        case .rootfsExists, .aliasTaken, .contended: return HTTPFailure(.conflict, message, code: "exists")
        case .noLifecycle: return HTTPFailure(.unprocessableContent, message, code: "no-lifecycle")
        case .unsuitableRootfs: return HTTPFailure(.unprocessableContent, message, code: "unsuitable-rootfs")
        case .unsuitableImage: return HTTPFailure(.unprocessableContent, message, code: "unsuitable-image")
        case .untrusted: return HTTPFailure(.unprocessableContent, message, code: "untrusted")
        case .unsuitableDelta: return HTTPFailure(.unprocessableContent, message, code: "unsuitable-delta")
        case .checksumMismatch: return HTTPFailure(.unprocessableContent, message, code: "checksum-mismatch")
        case .rejected(let reason) where reason.fault == .noMemory:
            return HTTPFailure(.serviceUnavailable, reason.reason, code: "busy", headers: [.retryAfter: "5"])
        case .rejected(let reason):
            return HTTPFailure(
                reason.fault == .tooLarge ? .contentTooLarge : .unprocessableContent, message, code: "not-convertible")
        case .store(.full), .blob(.store(.full)): return .storeFull
        case .blob(.overQuota): return .overQuota(message)
        case .blob(.uncounted): return HTTPFailure(.serviceUnavailable, message, code: "uncounted")
        case .store(.permission), .blob(.store(.permission)):
            return HTTPFailure(.serviceUnavailable, "the store can't be written at the moment", code: "read-only")
        case .input(let error as HTTPFailure): return error
        default: return nil
        }
    }
}

extension OperatorErrors {
    private func failure(for error: RegistryError) -> HTTPFailure? {
        switch error {
        case .counting: HTTPFailure(.conflict, "\(error)", code: "running")
        case .store(.full), .blob(.store(.full)): .storeFull
        case .input(let error as HTTPFailure): error
        case .input(let error as ImageError): failure(for: error as any Error)
        default: nil
        }
    }
}

extension OperatorErrors {
    private func failure(for error: OperationError) -> HTTPFailure? {
        switch error {
        case .running: HTTPFailure(.conflict, "\(error)", code: "running")
        case .tooMany: HTTPFailure(.serviceUnavailable, "\(error)", code: "too-many", headers: [.retryAfter: "10"])
        case .stopping: HTTPFailure(.serviceUnavailable, "\(error)", code: "stopping")
        case .unknown: HTTPFailure(.notFound, "\(error)", code: "unknown")
        case .ended: HTTPFailure(.conflict, "\(error)", code: "ended")
        case .cancelled: HTTPFailure(.conflict, "\(error)", code: "cancelled")
        case .record(.store(.full)): .storeFull
        case .record: nil
        }
    }

    /// What an operation's record says of an error.
    package static func describe(_ error: any Error) -> OperationRecord.Failure {
        let failure = error as? HTTPFailure ?? OperatorErrors().failure(for: error)
        return OperationRecord.Failure(code: failure?.code ?? "failed", message: failure?.message ?? "\(error)")
    }
}

extension HTTPFailure {
    static func overQuota(_ message: String) -> HTTPFailure {
        HTTPFailure(storeFull.status, message, code: "over-quota")
    }

    /// 507 (RFC 4918, section 11.5).
    static let storeFull = HTTPFailure(
        HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage"),
        "the store is full: free some space, then try again", code: "full")
}

import Blobs
import ErrorStatus
package import HTTPServer
import HTTPTypes
import Layers
import ObjectStore
package import Operations
import Records
import Registry
import Rootfs

/// How the operators' API states failures: `{"code","error","request"}`.
package struct OperatorErrors: ErrorEnvelope {
    package func failure(for error: any Error) -> HTTPFailure? {
        if let failure = ErrorStatus.ofBody(error) { return failure }
        guard let status = ErrorStatus(error, in: .operators) else { return nil }
        return HTTPFailure(
            status.status, status.message ?? "\(error)", code: Self.code(of: error) ?? Self.code(of: status),
            headers: status.headers)
    }

    private static func code(of error: any Error) -> String? {
        switch error {
        case let error as ImageError: code(of: error)
        case RegistryError.input(let error): code(of: error)
        case let error as OperationError: code(of: error)
        default: nil
        }
    }

    /// The error's code; nil if it follows from the status.
    private static func code(of error: ImageError) -> String? {
        switch error {
        case .invalidName: "invalid-name"
        case .unsuitableReport: "invalid-report"
        case .unknownStack, .unknownVersion, .nothingPromoted, .noVariant, .unknownDroplet, .unknownDelta: "unknown"
        case .noPackages: "not-recorded"
        case .versionBlocked: "blocked"
        case .nothingBefore: "nothing-before"
        case .promotedMeanwhile: "promoted-meanwhile"
        case .rootfsNeeded: "needed"
        case .rootfsInUse: "in-use"
        case .rootfsExists, .aliasTaken, .otherBase: "exists"
        case .tooManyDroplets: "too-many-droplets"
        case .notOneLayer: "several-layers"
        case .noLifecycle: "no-lifecycle"
        case .unsuitableRootfs: "unsuitable-rootfs"
        case .unsuitableImage: "unsuitable-image"
        case .unsuitableDelta: "unsuitable-delta"
        case .untrusted: "untrusted"
        case .checksumMismatch: "checksum-mismatch"
        case .rejected(let reason): reason.fault == .noMemory ? "busy" : "not-convertible"
        case .blob(.overQuota): "over-quota"
        case .blob(.uncounted): "uncounted"
        case .store(.permission), .blob(.store(.permission)): "read-only"
        case .damaged, .contended, .blob, .store, .signing, .input, .cancelled: nil
        }
    }

    private static func code(of status: ErrorStatus) -> String {
        switch status.status.code {
        case 507: "full"
        case 503: "unavailable"
        default: ""
        }
    }
}

extension OperatorErrors {
    private static func code(of error: OperationError) -> String? {
        switch error {
        case .running: "running"
        case .tooMany: "too-many"
        case .stopping: "stopping"
        case .unknown: "unknown"
        case .ended: "ended"
        case .cancelled: "cancelled"
        case .record: nil
        }
    }

    /// The failure that an operation's record shows for an error.
    package static func describe(_ error: any Error) -> OperationRecord.Failure {
        let failure = error as? HTTPFailure ?? OperatorErrors().failure(for: error)
        return OperationRecord.Failure(code: failure?.code ?? "failed", message: failure?.message ?? "\(error)")
    }
}

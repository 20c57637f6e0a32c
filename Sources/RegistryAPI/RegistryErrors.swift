import Blobs
import ErrorStatus
import HTTPServer
import HTTPTypes
import Images
import JSON
import Registry
import Rootfs

/// How `/v2/` words its failures: the specification's error codes in the specification's document
/// (OCI distribution specification, "Error codes").
struct RegistryErrors: ErrorEnvelope {
    let headers: HTTPFields = [.distributionVersion: "registry/2.0"]

    func failure(for error: any Error) -> HTTPFailure? {
        if let failure = error as? RegistryFailure { return HTTPFailure(failure, failure.status) }
        // The body's own failure: it stalled, broke off, or was too long.
        if let failure = ErrorStatus.ofBody(error) { return failure }
        guard let status = ErrorStatus(error, in: .registry) else { return nil }
        let known =
            switch error {
            case let error as ImageError: RegistryFailure(error)
            case let error as RegistryError: RegistryFailure(error)
            case BlobError.missing(let digest): RegistryFailure.blobUnknown(digest)
            default: RegistryFailure?.none
            }
        guard let known else {
            return HTTPFailure(
                status.status, status.message ?? "\(error)", code: "UNAVAILABLE", headers: status.headers)
        }
        return HTTPFailure(known, status.status)
    }

    func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8]) {
        let json: JSONValue = [
            "errors": [
                [
                    "code": .string(Self.code(of: failure)), "message": .string(failure.message),
                    "detail": failure.detail ?? .null,
                ]
            ]
        ]
        return ("application/json", json.canonicalBytes)
    }

    private static let known: Set<String> = [
        "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED",
        "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS",
    ]

    /// The specification allows only its own codes where the client is at fault.
    private static func code(of failure: HTTPFailure) -> String {
        if known.contains(failure.code) || failure.status.kind != .clientError {
            return failure.code.isEmpty ? "UNKNOWN" : failure.code
        }
        return switch failure.status {
        case .requestTimeout, .contentTooLarge: "SIZE_INVALID"
        case .notFound: "NAME_UNKNOWN"
        default: "UNSUPPORTED"
        }
    }
}

extension HTTPFailure {
    fileprivate init(_ failure: RegistryFailure, _ status: HTTPResponse.Status) {
        self.init(status, failure.message, code: failure.code, headers: failure.headers)
    }
}

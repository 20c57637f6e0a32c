import Blobs
import HTTPTypes
import Images
import JSON
import Service

/// How `/v2/` words its failures: the specification's error codes in the specification's document
/// (OCI distribution specification, "Error codes").
struct RegistryErrors: ErrorEnvelope {
    let headers: HTTPFields = [.distributionVersion: "registry/2.0"]

    func failure(for error: any Error) -> HTTPFailure? {
        switch error {
        case let error as RegistryFailure:
            HTTPFailure(error.status, error.message, code: error.code, headers: error.headers)
        case let error as ImageError: RegistryFailure(error).flatMap { failure(for: $0) }
        case BlobError.missing(let digest): failure(for: RegistryFailure.blobUnknown(digest))
        default: nil
        }
    }

    func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8]) {
        let code = failure.code.isEmpty ? "UNKNOWN" : failure.code
        let json: JSONValue = [
            "errors": [["code": .string(code), "message": .string(failure.message), "detail": failure.detail ?? .null]]
        ]
        return ("application/json", json.canonicalBytes)
    }
}

import ErrorStatus
import HTTPServer
import HTTPTypes
import JSON
import Rootfs

/// How the cloud controller's bits routes state failures: `{"code","description"}`.
struct BitsErrors: ErrorEnvelope {
    func failure(for error: any Error) -> HTTPFailure? {
        if let failure = ErrorStatus.ofBody(error) { return failure }
        guard let status = ErrorStatus(error, in: .bits) else { return nil }
        let code =
            switch (error as? ImageError, status.status.code) {
            case (.checksumMismatch?, _): "290003"
            case (_, 404): "10010"
            case (_, 500...): "500000"
            default: "290008"
            }
        return HTTPFailure(status.status, status.message ?? "\(error)", code: code, headers: status.headers)
    }

    func body(of failure: HTTPFailure, requestID: String) -> (contentType: String, bytes: [UInt8]) {
        let code = Int64(failure.code) ?? Self.defaultCode(failure.status)
        let json: JSONValue = ["code": .integer(code), "description": .string(failure.message)]
        return ("application/json", json.canonicalBytes)
    }

    private static func defaultCode(_ status: HTTPResponse.Status) -> Int64 {
        switch status.code {
        case 404: 10010
        case 400..<500: 290003
        default: 500000
        }
    }
}

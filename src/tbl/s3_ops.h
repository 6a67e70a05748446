/* Every S3 operation: X(method, level, sub-resource, handler, parameters it understands besides).
 * A request with any other parameter is refused, never served as if it had asked for less. */
#define LIST_PARAMS \
    "list-type prefix delimiter max-keys marker encoding-type continuation-token start-after " \
    "fetch-owner"
#define READ_PARAMS \
    "versionId response-content-type response-content-language response-expires " \
    "response-cache-control response-content-disposition response-content-encoding"
#define UPLOADS_PARAMS "prefix max-uploads key-marker upload-id-marker encoding-type"
X(GET, SERVICE, "", list_buckets, "")
X(GET, BUCKET, "", list_objects, LIST_PARAMS)
X(PUT, BUCKET, "", create_bucket, "")
X(HEAD, BUCKET, "", head_bucket, "")
X(DELETE, BUCKET, "", delete_bucket, "")
X(POST, BUCKET, "delete", delete_objects, "")
X(GET, BUCKET, "uploads", list_uploads, UPLOADS_PARAMS)
X(GET, BUCKET, "location", probe, "")
X(GET, BUCKET, "versioning", probe, "")
X(GET, BUCKET, "acl", probe, "")
X(GET, BUCKET, "logging", probe, "")
X(GET, BUCKET, "notification", probe, "")
X(GET, BUCKET, "requestPayment", probe, "")
X(GET, BUCKET, "accelerate", probe, "")
X(GET, BUCKET, "policy", probe, "")
X(GET, BUCKET, "policyStatus", probe, "")
X(GET, BUCKET, "lifecycle", probe, "")
X(GET, BUCKET, "cors", probe, "")
X(GET, BUCKET, "tagging", probe, "")
X(GET, BUCKET, "website", probe, "")
X(GET, BUCKET, "encryption", probe, "")
X(GET, BUCKET, "replication", probe, "")
X(GET, BUCKET, "object-lock", probe, "")
X(GET, BUCKET, "publicAccessBlock", probe, "")
X(GET, BUCKET, "ownershipControls", probe, "")
X(GET, OBJECT, "", get_object, READ_PARAMS)
X(HEAD, OBJECT, "", get_object, READ_PARAMS)
X(PUT, OBJECT, "", put_object, "")
X(DELETE, OBJECT, "", delete_object, "versionId")
X(POST, OBJECT, "uploads", create_upload, "")
X(PUT, OBJECT, "uploadId", put_part, "partNumber")
X(POST, OBJECT, "uploadId", complete_upload, "")
X(DELETE, OBJECT, "uploadId", abort_upload, "")
X(GET, OBJECT, "uploadId", list_parts, "max-parts part-number-marker encoding-type")
X(GET, OBJECT, "acl", probe, "versionId")
X(GET, OBJECT, "tagging", probe, "versionId")
X(GET, OBJECT, "retention", probe, "versionId")
X(GET, OBJECT, "legal-hold", probe, "versionId")
#undef LIST_PARAMS
#undef READ_PARAMS
#undef UPLOADS_PARAMS

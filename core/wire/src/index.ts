export * as aap from "./gen/causeway/aap/v1/aap_pb.js";
export * as aca from "./gen/causeway/aca/v1/aca_pb.js";
export * as admin from "./gen/causeway/admin/v1/admin_pb.js";
export * as agp from "./gen/causeway/agp/v1/agp_pb.js";
export * as amsp from "./gen/causeway/amsp/v1/amsp_pb.js";
export * as ars from "./gen/causeway/ars/v1/ars_pb.js";
export * as common from "./gen/causeway/common/v1/common_pb.js";
export * as record from "./gen/causeway/record/v1/record_pb.js";

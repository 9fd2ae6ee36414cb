export type * from "./api.ts";
export { Content, type Data, type Json } from "./content.ts";

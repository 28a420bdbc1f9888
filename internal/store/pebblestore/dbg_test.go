package pebblestore
import ("testing";"fmt";"math/rand/v2";"github.com/fluxkeep/fluxkeep/internal/store";"github.com/cockroachdb/pebble/v2")
func TestDbg(t *testing.T){
 for seed:=uint64(0);seed<300;seed++{
 rng:=rand.New(rand.NewPCG(seed,0))
 s,err:=Open(t.TempDir(),nil); if err!=nil{t.Fatal(err)}
 var tr []string
 m:=map[string]string{}
 for u:=0;u<10;u++{
 tr=append(tr,"update")
 s.Update(t.Context(),func(tx store.Tx)error{
  for i:=0;i<6;i++{
   k:=fmt.Sprintf("%c",'a'+rng.IntN(8))
   switch rng.IntN(4){
   case 0: to:=fmt.Sprintf("%c",k[0]+1+byte(rng.IntN(3))); tr=append(tr,"delrange "+k+" "+to); tx.DeleteRange([]byte(k),[]byte(to)); for x:=range m{ if x>=k&&x<to{delete(m,x)}}
   case 1: tr=append(tr,"many "+k); for j:=0;j<100;j++{kk:=fmt.Sprintf("%s%02d",k,j); tx.Set([]byte(kk),[]byte("x")); m[kk]="x"}
   default: kk:=fmt.Sprintf("%s%02d",k,rng.IntN(100)); tr=append(tr,"del "+kk); tx.Delete([]byte(kk)); delete(m,kk)
   }
  }
  return nil})
 s.View(t.Context(),func(r store.Reader)error{
   n:=0
   r.Scan(nil,nil,func(k,v []byte)(bool,error){ n++; if _,ok:=m[string(k)];!ok{
     _,gerr:=r.Get(k)
     t.Log("extra",string(k),"get:",gerr) ; t.Fail()
     }; return true,nil})
   if n!=len(m){t.Error(seed,n,len(m))}
   return nil})
 if t.Failed(){ 
   it,_:=s.gen.Load().db.NewIter(&pebble.IterOptions{}); n:=0; for ok:=it.First();ok;ok=it.Next(){n++}; it.Close()
   t.Log("db scan",n)
   t.Fatal(tr)}
 }
 s.Close()
 }
}
